//! What the kernel says about a process.

use procfs::process::Process;
use serde_json::{Value, json};

use super::Place;
use crate::experiment::Subject;

pub(super) fn look(subject: &Subject, place: &Place<'_>) -> Result<Value, String> {
    let (pid, restarts, exit) = match subject.filled(place.variables) {
        Subject::Process(target) => {
            let found = (place.process)(&target)?;
            (found.pid, Some(found.restarts.into()), found.exit.map(Value::from))
        }
        Subject::Service(service) => {
            let mut seen = service.look().map_err(|error| error.to_string())?;
            let mut of = |key: &str| seen.output.get_mut(key).map(Value::take);
            (seen.pid, of("restarts"), of("exit_code"))
        }
        Subject::PidFile(path) => (pid_in(&place.base.join(path))?, None, None),
    };
    let mut output = json!({ "running": false, "restarts": restarts, "exit": exit });
    // Between its number and its numbers the process may end, which is the same as not running.
    if let Some(numbers) = pid.and_then(numbers)
        && let (Value::Object(output), Value::Object(numbers)) = (&mut output, numbers)
    {
        output.extend(numbers);
    }
    Ok(output)
}

/// The number in a pid file; `None` without the file, which is how most services say "stopped".
pub(crate) fn pid_in(path: &std::path::Path) -> Result<Option<u32>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| format!("{} holds no process number", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("read {}: {error}", path.display())),
    }
}

/// `None` when it is gone, or only waits for its parent to notice.
fn numbers(pid: u32) -> Option<Value> {
    let process = Process::new(pid.cast_signed()).ok()?;
    let stat = process.stat().ok()?;
    if matches!(stat.state, 'Z' | 'X' | 'x') {
        return None;
    }
    let ticks = procfs::ticks_per_second().max(1);
    let fds = process.fd_count().ok()?;
    Some(json!({
        "running": true,
        "pid": pid,
        "state": stat.state.to_string(),
        "rss": stat.rss.saturating_mul(procfs::page_size()),
        "threads": stat.num_threads,
        "fds": fds,
        "cpu_ms": (stat.utime + stat.stime).saturating_mul(1000) / ticks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_an_unused_number_does_not() {
        let own = numbers(std::process::id()).unwrap();
        assert!(own["rss"].as_u64().unwrap() > 100_000, "{own}");
        assert!(own["fds"].as_u64().unwrap() > 2 && own["threads"].as_u64().unwrap() > 0, "{own}");
        // Larger than the kernel ever gives out.
        assert_eq!(numbers(5_000_000), None);
    }

    #[test]
    fn a_pid_file_is_read_strictly() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(pid_in(file.path()).unwrap_err().ends_with("holds no process number"));
        std::fs::write(file.path(), "42\n").unwrap();
        assert_eq!(pid_in(file.path()), Ok(Some(42)));
        assert_eq!(pid_in(std::path::Path::new("/nonexistent/pid")), Ok(None));
    }
}
