//! One test program: what tests it has, and running one of them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Record};
use crate::skip::skipped_features;

/// How much of a failed test's output is reported.
const OUTPUT_LIMIT: usize = 8 * 1024;

/// Why a test program could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// It could not be started, or its output not kept.
    #[error("cannot run the test program {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It did not list its tests.
    #[error("the test program {program} does not list its tests ({status})")]
    List {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Who has tests run.
pub trait Host {
    /// What came about.
    fn report(&mut self, record: Record);

    /// Called again and again while a test runs in the process of this number.
    fn meanwhile(&mut self, _test: u32) {}

    /// What the test that just ended left behind.
    fn left_behind(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// A test program made by `cargo test --no-run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// What the suite is called.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Where its tests run: the folder of their package, as with `cargo test`.
    pub directory: PathBuf,
    /// Modules whose tests are left to others.
    pub without: Vec<String>,
}

impl Suite {
    /// Runs the tests whose name, or whose suite's name, contains `filter`, one after the other,
    /// each for at most `limit`. `scratch` takes the output of the test that runs.
    pub fn run(
        &self,
        filter: Option<&str>,
        limit: Duration,
        scratch: &Path,
        host: &mut dyn Host,
    ) -> Result<(), SuiteError> {
        let ignored: HashSet<_> = self.list(&["--ignored"])?.into_iter().collect();
        let others = |test: &String| {
            let module = test.split_once("::").map_or("", |(module, _)| module);
            self.without.iter().any(|without| without == module)
        };
        let wanted = |test: &String| {
            !others(test)
                && filter.is_none_or(|filter| test.contains(filter) || self.name.contains(filter))
        };
        for test in self.list(&[])?.into_iter().filter(wanted) {
            let named = |outcome, seconds| Record::Test {
                suite: self.name.clone(),
                test: test.clone(),
                outcome,
                seconds,
            };
            if ignored.contains(&test) {
                host.report(named(Outcome::Ignored, 0.0));
                continue;
            }
            host.report(Record::Start { suite: self.name.clone(), test: test.clone() });
            let start = Instant::now();
            let mut outcome = self.run_one(&test, limit, scratch, host)?;
            let left = host.left_behind();
            if !left.is_empty() {
                let output = match outcome {
                    Outcome::Fail { output } => {
                        format!("{output}\nand it left {}", left.join(", "))
                    }
                    _ => format!("the test left {}", left.join(", ")),
                };
                outcome = Outcome::Fail { output };
            }
            host.report(named(outcome, start.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    fn list(&self, extra: &[&str]) -> Result<Vec<String>, SuiteError> {
        let output = Command::new(&self.program)
            .args(["--list", "--format=terse"])
            .args(extra)
            .output()
            .map_err(|source| self.start_error(source))?;
        if !output.status.success() {
            return Err(SuiteError::List { program: self.program.clone(), status: output.status });
        }
        Ok(listed_tests(&String::from_utf8_lossy(&output.stdout)))
    }

    fn run_one(
        &self,
        test: &str,
        limit: Duration,
        scratch: &Path,
        host: &mut dyn Host,
    ) -> Result<Outcome, SuiteError> {
        let log = scratch.join(format!("{}.output", self.name));
        let file = File::create(&log).map_err(|source| self.start_error(source))?;
        let other = file.try_clone().map_err(|source| self.start_error(source))?;
        let mut child = Command::new(&self.program)
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(other)
            .process_group(0)
            .spawn()
            .map_err(|source| self.start_error(source))?;
        let status = wait(&mut child, limit, host).map_err(|source| self.start_error(source))?;
        let output = fs::read(&log).map_err(|source| self.start_error(source))?;
        Ok(judge(status, limit, &String::from_utf8_lossy(&output)))
    }

    fn start_error(&self, source: io::Error) -> SuiteError {
        SuiteError::Start { program: self.program.clone(), source }
    }
}

/// Waits for a child that leads its own process group; `None` if it had to be killed. What it
/// started dies with it, either way.
fn wait(child: &mut Child, limit: Duration, host: &mut dyn Host) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let group = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait()? {
            let _ = killpg(group, Signal::SIGKILL);
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            let _ = killpg(group, Signal::SIGKILL);
            child.wait()?;
            return Ok(None);
        }
        host.meanwhile(child.id());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads `name: test` lines; benchmarks are not tests.
fn listed_tests(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(String::from).collect()
}

fn judge(status: Option<ExitStatus>, limit: Duration, output: &str) -> Outcome {
    let why = match status {
        Some(status) if status.success() => {
            let features = skipped_features(output);
            // A name that matches nothing is a success to libtest, and must not be one here.
            if output.contains("1 passed") {
                return if features.is_empty() {
                    Outcome::Pass
                } else {
                    Outcome::Skip { features }
                };
            }
            "the test did not run".to_owned()
        }
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        },
        None => format!("still running after {} s", limit.as_secs()),
    };
    Outcome::Fail { output: format!("{why}\n{}", end_of(output)) }
}

fn end_of(output: &str) -> &str {
    let mut from = output.len().saturating_sub(OUTPUT_LIMIT);
    while !output.is_char_boundary(from) {
        from += 1;
    }
    output[from..].trim_end()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that answers like libtest.
    const FAKE: &str = r#"#!/bin/sh
case "$*" in
*--ignored*) echo "lazy: test" ;;
*--list*) printf 'good: test\nbad: test\nslow: test\nlacking: test\nlazy: test\ngone: test\nothers::one: test\nb: benchmark\n' ;;
*good*) echo "test result: ok. 1 passed; 0 failed" ;;
*bad*) echo "words"; exit 101 ;;
*slow*) sleep 60 & sleep 60 ;;
*lacking*) echo "CHAOS-SKIP lacking netem"; echo "test result: ok. 1 passed; 0 failed" ;;
*gone*) echo "test result: ok. 0 passed; 0 failed" ;;
esac
"#;

    #[derive(Default)]
    struct Observer {
        ended: Vec<(String, Outcome)>,
        seen: HashSet<u32>,
        left: Vec<String>,
    }

    impl Host for Observer {
        fn report(&mut self, record: Record) {
            if let Record::Test { test, outcome, .. } = record {
                self.ended.push((test, outcome));
            }
        }

        fn meanwhile(&mut self, test: u32) {
            self.seen.insert(test);
        }

        fn left_behind(&mut self) -> Vec<String> {
            self.left.clone()
        }
    }

    fn run(filter: Option<&str>, left: &[&str]) -> Vec<(String, Outcome)> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("fake");
        fs::write(&program, FAKE).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let left = left.iter().map(|&left| left.into()).collect();
        let mut observer = Observer { left, ..Observer::default() };
        let limit = Duration::from_secs(2);
        let without = vec!["others".into()];
        Suite { name: "fake".into(), program, directory: dir.path().into(), without }
            .run(filter, limit, dir.path(), &mut observer)
            .unwrap();
        assert!(observer.seen.len() <= observer.ended.len());
        assert!(filter.is_some() || !observer.seen.is_empty(), "the slow one is seen");
        observer.ended
    }

    #[test]
    fn every_way_to_end_is_told_apart() {
        let ended = run(None, &[]);
        let named = |name| &ended.iter().find(|(test, _)| test == name).unwrap().1;
        assert_eq!(ended.len(), 6);
        assert_eq!(*named("good"), Outcome::Pass);
        assert_eq!(*named("bad"), Outcome::Fail { output: "exit code 101\nwords".into() });
        assert_eq!(*named("slow"), Outcome::Fail { output: "still running after 2 s\n".into() });
        assert_eq!(*named("lacking"), Outcome::Skip { features: vec!["netem".into()] });
        assert_eq!(*named("lazy"), Outcome::Ignored);
        assert!(
            matches!(named("gone"), Outcome::Fail { output } if output.contains("did not run"))
        );
    }

    #[test]
    fn a_filter_selects_by_test_and_by_suite() {
        assert_eq!(run(Some("goo"), &[]).len(), 1);
        assert_eq!(run(Some("nothing"), &[]).len(), 0);
        assert_eq!(run(Some("fake"), &[]).len(), 6);
    }

    #[test]
    fn what_is_left_behind_fails_the_test() {
        let ended = run(Some("good"), &["the namespace x"]);
        assert_eq!(ended[0].1, Outcome::Fail { output: "the test left the namespace x".into() });
    }

    #[test]
    fn the_end_of_the_output_is_cut_at_a_character() {
        let output = "é".repeat(OUTPUT_LIMIT);
        assert_eq!(end_of(&output).len(), OUTPUT_LIMIT);
        let shifted = format!("a{output}b");
        assert!(end_of(&shifted).len() < OUTPUT_LIMIT && end_of(&shifted).ends_with('b'));
    }
}
