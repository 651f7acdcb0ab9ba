//! What the classifier costs, how fast a plan is installed, and how soon a fault begins and ends.
//!
//! `cargo bench --bench data_plane -- [--seed N] [--only packets|install|traffic] [--out FILE]
//! [--compare FILE]`, as root. The figures per packet are differences against an empty program, both timed by the kernel
//! (`BPF_PROG_TEST_RUN`) alternately on one CPU.

mod install;
mod link;
mod packet;
mod packets;
mod report;
mod stats;
mod subject;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use report::Report;

struct Arguments {
    seed: u64,
    only: Option<Part>,
    out: PathBuf,
    compare: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Packets,
    Install,
    Traffic,
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let mut report = Report::new(machine(), arguments.seed);
    println!("{}, seed {}", report.machine, report.seed);
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if wanted(Part::Packets) {
        // Pinned, and so a thread of its own.
        std::thread::scope(|scope| {
            let measuring =
                scope.spawn(|| pin().and_then(|()| packets::measure(&mut report, arguments.seed)));
            measuring.join().map_err(|_| anyhow!("the measuring thread panicked"))?
        })?;
    }
    if wanted(Part::Install) {
        install::measure(&mut report)?;
    }
    if wanted(Part::Traffic) {
        traffic::measure(&mut report)?;
    }
    let missed = report.missed();
    println!("\n{} aims missed{}{}", missed.len(), separator(&missed), missed.join("; "));
    if let Some(old) = &arguments.compare {
        report.compare(old)?;
    }
    report.write(&arguments.out)?;
    println!("written to {}", arguments.out.display());
    Ok(())
}

fn separator(missed: &[String]) -> &'static str {
    if missed.is_empty() { "" } else { ": " }
}

fn arguments() -> Result<Arguments> {
    let target = std::env::current_exe().ok().and_then(|exe| {
        // target/PROFILE/deps/data_plane-HASH
        exe.ancestors().nth(3).map(|target| target.join("bench/data_plane.json"))
    });
    let out = target.context("cannot tell where the target folder is")?;
    let mut arguments = Arguments { seed: 1, only: None, out, compare: None };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--seed" => arguments.seed = value()?.parse().context("--seed takes a number")?,
            "--only" => {
                arguments.only = Some(match value()?.as_str() {
                    "packets" => Part::Packets,
                    "install" => Part::Install,
                    "traffic" => Part::Traffic,
                    other => bail!("--only takes packets, install or traffic, not {other}"),
                });
            }
            "--out" => arguments.out = value()?.into(),
            "--compare" => arguments.compare = Some(value()?.into()),
            other => {
                bail!("unknown argument {other}; known are --seed, --only, --out and --compare")
            }
        }
    }
    Ok(arguments)
}

/// Keeps the calling thread on the last CPU that it may use.
fn pin() -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    for cpu in (0..CpuSet::count()).rev() {
        if allowed.is_set(cpu)? {
            let mut only = CpuSet::new();
            only.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &only)?;
            return Ok(());
        }
    }
    bail!("no CPU is allowed")
}

fn machine() -> String {
    let release = nix::sys::utsname::uname()
        .map_or_else(|_| "?".into(), |name| name.release().to_string_lossy().into_owned());
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cpus} CPUs, Linux {release}")
}
