//! What came back from a guest.

use std::path::PathBuf;

use chaos_suite::Record;

use super::catalogue::KernelEntry;
use crate::stage::Report;
use crate::suite::judge;

/// Words with which a kernel says that nothing good will follow. That a processor stalls is none of them:
/// an emulated one can go on, and a guest that does not is silent, which ends it as well.
const DEATHS: [&str; 3] = ["Kernel panic - not syncing", "Oops: ", "BUG: unable to handle"];

/// The first sign of death on a console.
pub(super) fn sign_of_death(console: &str) -> Option<&'static str> {
    DEATHS.into_iter().find(|death| console.contains(death))
}

/// What came back from a guest.
#[derive(Debug)]
pub(crate) struct VmReport {
    /// Everything its kernel and PID 1 said.
    pub(crate) console: PathBuf,
    records: Vec<Record>,
    /// Lines of the report that are no records.
    garbled: usize,
    ended: Option<String>,
}

impl VmReport {
    /// Reads the lines of a report; `ended` says why the guest had to be ended, if so.
    pub(super) fn new(console: PathBuf, report: &str, ended: Option<String>) -> Self {
        let lines = report.lines().filter(|line| !line.trim().is_empty());
        let (mut records, mut garbled) = (Vec::new(), 0);
        for line in lines {
            match Record::parse(line.trim()) {
                Some(record) => records.push(record),
                None => garbled += 1,
            }
        }
        Self { console, records, garbled, ended }
    }

    /// Whether the guest did its job to the end.
    pub(crate) fn complete(&self) -> bool {
        self.ended.is_none() && self.records.contains(&Record::Done)
    }

    /// Why it did not.
    pub(crate) fn why_incomplete(&self) -> String {
        self.ended.clone().unwrap_or_else(|| "it powered off before its report was complete".into())
    }

    /// The exit code of the command that ran in the guest, and what went wrong beside it.
    pub(crate) fn exit(&self) -> (Option<i32>, Vec<&str>) {
        let code = self.records.iter().find_map(|record| match record {
            Record::Exit { code } => Some(*code),
            _ => None,
        });
        let problems = self.records.iter().filter_map(|record| match record {
            Record::Problem { what } => Some(what.as_str()),
            _ => None,
        });
        (code, problems.collect())
    }

    /// The stage of a test run that this guest was.
    pub(crate) fn stage(&self, kernel: &KernelEntry) -> Report {
        let (mut tally, mut failures) = judge(&self.records, |feature| kernel.presence(feature));
        if let Some(ended) = &self.ended {
            tally.failed += 1;
            failures.push(format!("the guest had to be ended: {ended}"));
        }
        if self.garbled > 0 {
            tally.failed += 1;
            failures.push(format!("{} lines of the report cannot be read", self.garbled));
        }
        Report { tally, failures, log: Some(self.console.clone()), ..Report::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::Catalogue;

    fn report(text: &str, ended: Option<&str>) -> VmReport {
        VmReport::new("/c".into(), text, ended.map(String::from))
    }

    fn failed(text: &str, ended: Option<&str>) -> usize {
        let catalogue = Catalogue::load().unwrap();
        report(text, ended).stage(catalogue.select(Some("6.1")).unwrap()[0]).tally.failed
    }

    const PASS: &str =
        r#"{"record":"test","suite":"s","test":"t","outcome":{"status":"pass"},"seconds":1.0}"#;
    const DONE: &str = r#"{"record":"done"}"#;

    #[test]
    fn only_a_whole_report_passes() {
        assert_eq!(failed(&format!("{PASS}\r\n{DONE}\r\n"), None), 0);
        assert_eq!(failed(&format!("{PASS}\n"), None), 1);
        assert_eq!(failed(&format!("{PASS}\n{DONE}\n"), Some("it was silent")), 1);
        assert_eq!(failed(&format!("{PASS}\ngarbage\n{DONE}\n"), None), 1);
        assert_eq!(failed("", None), 1);
    }

    #[test]
    fn skips_are_judged_by_the_kernel_that_ran() {
        let skip = r#"{"record":"test","suite":"s","test":"t","outcome":{"status":"skip","features":["tcx"]},"seconds":1.0}"#;
        assert_eq!(failed(&format!("{skip}\n{DONE}\n"), None), 0);
        assert_eq!(failed(&format!("{}\n{DONE}\n", skip.replace("tcx", "tun")), None), 1);
    }

    #[test]
    fn a_commands_exit_code_is_found() {
        let text = format!("{{\"record\":\"exit\",\"code\":3}}\n{DONE}\n");
        assert_eq!(report(&text, None).exit(), (Some(3), vec![]));
        assert!(report(&text, None).complete());
        assert_eq!(report("", None).exit(), (None, vec![]));
        assert!(!report("", None).complete());
    }

    #[test]
    fn a_panic_is_seen() {
        assert!(sign_of_death("[ 1.0] Kernel panic - not syncing: x").is_some());
        assert!(sign_of_death("rcu: INFO: rcu_preempt self-detected stall on CPU").is_none());
        assert!(sign_of_death("all is well").is_none());
    }
}
