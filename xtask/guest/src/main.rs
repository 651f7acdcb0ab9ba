//! PID 1 of a test VM.
//!
//! Mounts what a booted system has, loads the kernel modules it was given, does the job that
//! `/job.json` describes, reports on the second serial port, and powers off. It is linked
//! statically and lives in the initramfs.

mod command;
mod getent;
mod leaks;
mod modules;
mod mounts;
mod netlink;
mod port;
mod reaper;
mod tests;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chaos_suite::{JOB_FILE, Job, Record, Work};
use nix::sys::reboot::{RebootMode, reboot};

use port::ReportPort;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called = arguments.next().unwrap_or_default();
    if Path::new(&called).ends_with(getent::NAME) {
        return getent::run(&arguments.collect::<Vec<_>>());
    }
    // Without this a copy started by hand would power the host off.
    if std::process::id() != 1 {
        eprintln!("this is PID 1 of a test VM; `cargo xtask vm` starts it");
        return ExitCode::from(64);
    }
    init();
    // PID 1 must not end; the host ends a guest that could not power off.
    loop {
        std::thread::park();
    }
}

fn init() {
    println!("guest: up");
    match ReportPort::open() {
        Ok(mut report) => {
            if let Err(error) = work(&mut report) {
                println!("guest: {error:#}");
                report.send(&Record::Problem { what: format!("the guest failed: {error:#}") });
            }
            report.finish();
        }
        // The host sees a report without an end, and shows this line of the console.
        Err(error) => println!("guest: no report can be written: {error:#}"),
    }
    println!("guest: powering off");
    nix::unistd::sync();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    println!("guest: cannot power off: {error}");
}

fn work(report: &mut ReportPort) -> Result<()> {
    let job = fs::read(JOB_FILE).with_context(|| format!("cannot read {JOB_FILE}"))?;
    let job: Job = serde_json::from_slice(&job).with_context(|| format!("{JOB_FILE} is wrong"))?;
    mounts::mount_all(report);
    modules::load_all(&job.modules, report);
    netlink::bring_up_loopback().context("cannot bring lo up")?;
    command::install_busybox().context("cannot link busybox's programs")?;
    match job.work {
        Work::Suites { suites, filter, test_limit } => {
            tests::run(&suites, filter.as_deref(), test_limit, report);
            Ok(())
        }
        Work::Command { argv, terminal, directory } => {
            command::run(&argv, terminal, &directory, report)
        }
        Work::Shell { directory } => command::shell(&directory, report),
        Work::Nothing => Ok(()),
    }
}
