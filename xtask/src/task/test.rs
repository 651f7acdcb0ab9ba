use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use chaos_suite::Record;
use clap::Args;

use super::Task;
use super::build::build_object;
use super::lint::lint_stages;
use super::vm::test_stages;
use crate::privilege::Privilege;
use crate::progress::{Finished, log_path, run_logged};
use crate::setup::ensure_all;
use crate::stage::{Report, parse_libtest, render};
use crate::suite::{
    Features, KernelConfig, Programs, build_programs, integration_tests_outside, judge,
    static_cargo,
};
use crate::vm::{Accelerator, Catalogue};

/// Run every test: formatting, lints, unit and privileged tests, the latter also in VMs
///
/// Every stage runs to its end even if an earlier one failed; a table and one line with the sums
/// come last, and the exit code is 1 if anything failed. A stage that is one check, such as
/// clippy, counts as one test.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only tests whose name contains this; formatting and lints are then left out
    filter: Option<String>,
}

impl Task for Test {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        // Without a toolchain nothing below can say anything useful.
        build_object(layout, &ensure_all(layout)?)?;
        let filter = self.filter.as_deref();
        let mut reports = if filter.is_none() { lint_stages(layout) } else { vec![] };
        reports.push(stage("unit tests", || unit_tests(layout, filter)));
        reports.push(stage("documentation tests", || doc_tests(layout, filter)));
        let start = Instant::now();
        match build_programs(layout) {
            Ok(programs) => {
                reports.push(stage("privileged tests", || privileged(layout, &programs, filter)));
                let catalogue = Catalogue::load()?;
                let kernels = catalogue.select(None)?;
                let accelerator = Accelerator::Tcg;
                reports.extend(test_stages(
                    layout,
                    &catalogue,
                    &kernels,
                    &programs,
                    filter,
                    accelerator,
                ));
            }
            Err(error) => {
                reports.push(Report::broken("privileged tests", start.elapsed(), &error));
            }
        }
        print!("{}", render(&reports));
        Ok(if reports.iter().all(Report::ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Carries out a stage that counts its own tests.
fn stage(name: &str, work: impl FnOnce() -> Result<Report>) -> Report {
    let start = Instant::now();
    match work() {
        Ok(report) => Report { name: name.into(), elapsed: start.elapsed(), ..report },
        Err(error) => Report::broken(name, start.elapsed(), &error),
    }
}

/// Everything that needs no privileges: unit tests, and integration tests of the other packages.
fn unit_tests(layout: &Layout, filter: Option<&str>) -> Result<Report> {
    let mut test = static_cargo(layout, "test");
    test.args(["--workspace", "--exclude", "chaos-ebpf", "--no-fail-fast"]);
    test.args(["--lib", "--bins"]);
    for name in integration_tests_outside(layout)? {
        test.args(["--test", &name]);
    }
    test.arg("--").args(filter);
    Ok(counted(&run_logged(layout, "unit tests", &mut test)?))
}

fn doc_tests(layout: &Layout, filter: Option<&str>) -> Result<Report> {
    let mut test = static_cargo(layout, "test");
    test.args(["--workspace", "--exclude", "chaos-ebpf", "--no-fail-fast", "--doc"]);
    test.arg("--").args(filter);
    Ok(counted(&run_logged(layout, "documentation tests", &mut test)?))
}

fn counted(finished: &Finished) -> Report {
    let (tally, failures) = parse_libtest(&finished.text(), finished.status.success());
    Report { tally, failures, log: Some(finished.log.clone()), ..Report::default() }
}

/// The integration tests of chaos-user: real kernel, real namespaces, one test at a time.
fn privileged(layout: &Layout, programs: &Programs, filter: Option<&str>) -> Result<Report> {
    let privilege = Privilege::of_this_process();
    privilege.prepare()?;
    let suites = log_path(layout, "privileged tests.suites")?;
    let report = log_path(layout, "privileged tests.report")?;
    fs::write(&suites, serde_json::to_vec(&programs.suites).context("a bad list of suites")?)
        .with_context(|| format!("cannot write {}", suites.display()))?;
    fs::write(&report, "").with_context(|| format!("cannot write {}", report.display()))?;
    // Not by its path: a cargo that ran since may have put another program there.
    let xtask = format!("/proc/{}/exe", std::process::id());
    let mut command = privilege.command(Path::new(&xtask))?;
    command.arg("root-suites").arg("--suites").arg(&suites).arg("--report").arg(&report);
    if let Some(filter) = filter {
        command.args(["--filter", filter]);
    }
    let finished = run_logged(layout, "privileged tests", &mut command)?;
    let text =
        fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    let records: Vec<_> = text.lines().filter_map(Record::parse).collect();
    let features = Features::load()?;
    let config = KernelConfig::of_this_kernel();
    let uname = nix::sys::utsname::uname().context("cannot ask for the kernel's release")?;
    let release = uname.release().to_string_lossy();
    let (tally, failures) =
        judge(&records, |feature| features.presence(feature, &release, config.as_ref()));
    Ok(Report {
        name: String::new(),
        elapsed: Duration::ZERO,
        tally,
        failures,
        log: Some(finished.log),
    })
}
