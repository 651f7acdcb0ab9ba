//! One command, or a shell, on the third serial port.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};
use chaos_suite::Record;
use nix::sys::termios::tcdrain;
use nix::unistd::Pid;

use crate::port::{ReportPort, open, open_raw};
use crate::reaper::reap;

/// The port that the user sees.
const PORT: &str = "/dev/ttyS2";

const BUSYBOX: &str = "/bin/busybox";

/// The environment of everything that is run.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Links `sh`, `sleep` and the like, where the initramfs has busybox.
pub(crate) fn install_busybox() -> Result<()> {
    if Path::new(BUSYBOX).is_file() {
        let status = Command::new(BUSYBOX).args(["--install", "-s", "/bin"]).status()?;
        anyhow::ensure!(status.success(), "busybox --install: {status}");
    }
    Ok(())
}

/// Runs a command with nothing to read, and reports its exit code.
pub(crate) fn run(
    argv: &[String],
    terminal: bool,
    directory: &Path,
    report: &mut ReportPort,
) -> Result<()> {
    let port = open_raw(PORT)?;
    let (program, arguments) = argv.split_first().context("no command was given")?;
    let mut command = Command::new(program);
    // The port is a terminal to the program, whatever it is to the user.
    command
        .args(arguments)
        .envs((!terminal).then_some(("NO_COLOR", "1")))
        .stdin(File::open("/dev/null").context("cannot open /dev/null")?);
    finish(&mut command, directory, &port, report)
}

/// Runs a shell that reads from the port, in a session of its own so that Ctrl-C works.
pub(crate) fn shell(directory: &Path, report: &mut ReportPort) -> Result<()> {
    let port = open(PORT)?;
    let mut command = Command::new(BUSYBOX);
    // `setsid -c` makes the port its controlling terminal.
    command.args(["setsid", "-c", BUSYBOX, "sh"]);
    command.stdin(port.try_clone().context("cannot share the port")?);
    finish(&mut command, directory, &port, report)
}

fn finish(
    command: &mut Command,
    directory: &Path,
    port: &File,
    report: &mut ReportPort,
) -> Result<()> {
    let code = match start(command, directory, port) {
        Ok(status) => exit_code(status),
        Err(error) => {
            let what = format!("cannot start {}: {error}", command.get_program().display());
            println!("guest: {what}");
            report.send(&Record::Problem { what });
            127
        }
    };
    // A shell that was its session's leader took the terminal with it: a new descriptor is needed.
    tcdrain(&open(PORT)?).context("the output may be cut short")?;
    report.send(&Record::Exit { code });
    Ok(())
}

fn start(command: &mut Command, directory: &Path, port: &File) -> std::io::Result<ExitStatus> {
    let mut child = command
        .current_dir(directory)
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("TERM", "linux")
        .env("PS1", "chaos-vm:\\w# ")
        .stdout(port.try_clone()?)
        .stderr(port.try_clone()?)
        .spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        reap(Some(pid));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As a shell counts.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
