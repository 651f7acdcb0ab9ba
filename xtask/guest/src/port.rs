//! The second serial port: the report, and nothing but the report.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use chaos_suite::Record;
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

/// Opens a serial port as a terminal.
pub(crate) fn open(path: &str) -> Result<File> {
    File::options().read(true).write(true).open(path).with_context(|| format!("cannot open {path}"))
}

/// Opens a serial port that passes bytes as they are.
pub(crate) fn open_raw(path: &str) -> Result<File> {
    let port = open(path)?;
    let mut settings = tcgetattr(&port).with_context(|| format!("{path} is no terminal"))?;
    cfmakeraw(&mut settings);
    tcsetattr(&port, SetArg::TCSANOW, &settings)
        .with_context(|| format!("cannot set up {path}"))?;
    Ok(port)
}

/// Where the report goes.
pub(crate) struct ReportPort {
    port: File,
    broken: bool,
}

impl ReportPort {
    /// Opens the port; devtmpfs must make the device, so this mounts it first.
    pub(crate) fn open() -> Result<Self> {
        crate::mounts::mount_devices()?;
        Ok(Self { port: open_raw("/dev/ttyS1")?, broken: false })
    }

    /// Sends a record. A port that fails once makes the report incomplete for good.
    pub(crate) fn send(&mut self, record: &Record) {
        let line = format!("{}\n", record.to_line());
        if let Err(error) = self.port.write_all(line.as_bytes()) {
            println!("guest: cannot report: {error}");
            self.broken = true;
        }
    }

    /// Sends the last line and waits until it is out.
    pub(crate) fn finish(mut self) {
        if !self.broken {
            self.send(&Record::Done);
        }
        if let Err(error) = tcdrain(&self.port) {
            println!("guest: the report may be cut short: {error}");
        }
    }
}
