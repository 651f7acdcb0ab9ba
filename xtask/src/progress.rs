//! Runs a long command: a spinner with the elapsed time on a terminal, plain lines elsewhere, the
//! whole output in a log file.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::command::shown;

/// How much of a failed command's log is shown.
const TAIL_LINES: usize = 60;

/// How often a command that says nothing is mentioned when there is no terminal.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    name: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) log: PathBuf,
    /// What it printed on standard output, where that was kept apart; else the log.
    pub(crate) out: PathBuf,
}

impl Finished {
    /// An error with the end of the log, unless the command succeeded.
    pub(crate) fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        eprintln!("{}", tail(&self.text(), TAIL_LINES));
        bail!("{} failed ({}); the whole log is {}", self.name, self.status, self.log.display())
    }

    /// Everything it printed, as text.
    pub(crate) fn text(&self) -> String {
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }
}

/// Runs `command` to its end, showing `name`; `Err` only if it could not be run at all.
pub(crate) fn run_logged(layout: &Layout, name: &str, command: &mut Command) -> Result<Finished> {
    let log = log_path(layout, name)?;
    let mut file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(file, "$ {}", shown(command)).context("cannot write the log")?;
    let again = || file.try_clone().context("cannot share the log file");
    let json =
        command.get_args().any(|arg| arg.to_string_lossy().starts_with("--message-format=json"));
    // Messages for machines, kept apart so that no other output can cut a line in two.
    let (out, stdout) = if json {
        let out = log.with_extension("json");
        let file = File::create(&out).with_context(|| format!("cannot write {}", out.display()))?;
        (out, file)
    } else {
        (log.clone(), again()?)
    };
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(again()?)
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut display = Display::new(name);
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for a command")? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(100));
        display.tick(|| last_line(&log));
    };
    let elapsed = start.elapsed();
    display.end(status.success(), elapsed);
    Ok(Finished { name: name.into(), status, log, out })
}

/// Where the log of the step called `name` is kept.
pub(crate) fn log_path(layout: &Layout, name: &str) -> Result<PathBuf> {
    let dir = layout.target().join("xtask/logs");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let slug: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    Ok(dir.join(format!("{slug}.log")))
}

/// The last `count` lines.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// `1.5 s`, `2 min 05 s`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// Keeps the lines of steps that run at the same time apart.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// What the user sees of a running command.
pub(crate) struct Display {
    name: String,
    bar: Option<ProgressBar>,
    start: Instant,
    next: Duration,
}

impl Display {
    /// Shows that the step `name` has begun.
    pub(crate) fn new(name: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = BARS.add(ProgressBar::new_spinner());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar
        });
        if bar.is_none() {
            eprintln!("==> {name}");
        }
        let next = if bar.is_some() { Duration::ZERO } else { HEARTBEAT };
        Self { name: name.into(), bar, start: Instant::now(), next }
    }

    /// Shows that it goes on; `line` says how far it is, and is only asked now and then.
    pub(crate) fn tick(&mut self, line: impl FnOnce() -> Option<String>) {
        if let Some(bar) = &self.bar {
            bar.tick();
        }
        let elapsed = self.start.elapsed();
        if elapsed < self.next {
            return;
        }
        if let Some(bar) = &self.bar {
            self.next = elapsed + Duration::from_millis(500);
            bar.set_message(line().unwrap_or_default());
        } else {
            self.next = elapsed + HEARTBEAT;
            let line = line().unwrap_or_default();
            eprintln!("    {}: {} so far: {line}", self.name, human(elapsed));
        }
    }

    /// Shows that it has ended.
    pub(crate) fn end(&self, success: bool, elapsed: Duration) {
        let mark = if success { "done" } else { "FAILED" };
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.suspend(|| eprintln!("==> {}: {mark} in {}", self.name, human(elapsed)));
        } else {
            eprintln!("    {}: {mark} in {}", self.name, human(elapsed));
        }
    }
}

/// The last complete line of a growing file.
fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.seek(SeekFrom::End(0)).ok()?;
    file.seek(SeekFrom::Start(length.saturating_sub(2048))).ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    end.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\n", 5), "a");
        assert_eq!(tail("", 5), "");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(human(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(human(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn output_and_failure_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let name = format!("progress test {}", std::process::id());
        let mut command = Command::new("cat");
        command.arg("/nonexistent");
        let finished = run_logged(&layout, &name, &mut command).unwrap();
        assert!(!finished.status.success());
        assert!(finished.text().starts_with("$ cat /nonexistent\n"));
        assert!(finished.text().contains("No such file"));
        let log = finished.log.clone();
        assert!(finished.success().is_err());
        fs::remove_file(log).unwrap();
    }
}
