//! The log: JSON lines on standard output, and in a file if wanted.
//!
//! A full disk must not stop the service, so a line that cannot be written is counted and dropped.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    defect::{Defect, Defects},
    metrics::Metrics,
};

/// Starts logging. `RUST_LOG` chooses what; `info` if it is not set.
pub fn start(file: Option<&Path>, defects: Defects, metrics: Option<Metrics>) -> io::Result<()> {
    let open = |path: &Path| File::options().create(true).append(true).open(path);
    let file = file.map(open).transpose()?.map(Arc::new);
    let filter = if defects.has(Defect::SilentFailure) {
        // Only the line that says where the service listens.
        EnvFilter::new("off,marketplace::serve=info")
    } else {
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))
    };
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(Log { file, metrics })
        .finish();
    // A second call in one process (tests) leaves the first in place.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    Ok(())
}

/// Writes to all destinations and never fails.
#[derive(Debug, Clone)]
struct Log {
    file: Option<Arc<File>>,
    metrics: Option<Metrics>,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost_out = io::stdout().lock().write_all(line).is_err();
        let lost_file = self.file.as_deref().is_some_and(|mut file| file.write_all(line).is_err());
        if let Some(metrics) = &self.metrics
            && (lost_out || lost_file)
        {
            metrics.log_lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
