//! The report for people, and the summary of several runs.

use std::fmt::{self, Write as _};

use crate::exit::Exit;
use crate::verdict::{Findings, LoggedLine, Verdict};

/// What a run showed, for a terminal.
pub fn terminal(findings: &Findings) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, findings);
    text
}

fn write(out: &mut String, findings: &Findings) -> fmt::Result {
    let Findings { name, title, verdict, because, .. } = findings;
    writeln!(out, "{verdict} {name}: {title}")?;
    if *verdict != Verdict::Pass {
        writeln!(out, "  because {because}")?;
    }
    for judgement in &findings.judgements {
        let (question, answer) = (judgement.question.words(), judgement.status.word());
        let mut reasons = judgement.reasons.iter();
        let first = reasons.next().map_or("", String::as_str);
        writeln!(out, "{}", format!("  {question:<20} {answer:<9} {first}").trim_end())?;
        for reason in reasons {
            writeln!(out, "  {:<30} {reason}", "")?;
        }
    }
    // Failures at the same time have the same lines around them.
    let mut told: Vec<&LoggedLine> = Vec::new();
    for failure in &findings.failures {
        let new: Vec<_> = failure.log.iter().filter(|line| !told.contains(line)).collect();
        if !new.is_empty() {
            let (probe, when) = (&failure.probe, failure.when());
            writeln!(out, "  logs around `{probe}` {when} at {}:", moment(failure.at))?;
        }
        for line in new {
            writeln!(out, "    {} {} | {}", moment(line.at), line.source, line.text)?;
            told.push(line);
        }
    }
    if let Some(clearance) = findings.clearance.as_ref().filter(|one| !one.extent.faults.is_empty())
    {
        writeln!(out, "  {clearance}blast radius {}", clearance.extent)?;
    }
    for fault in &findings.faults {
        let lasted = fault.lasted.map_or_else(String::new, |ns| format!(", {}", seconds(ns)));
        writeln!(out, "  evidence of `{}`{lasted}:", fault.fault)?;
        for (at, (rule, says)) in fault.rules.iter().enumerate() {
            writeln!(out, "    {rule}: {says}")?;
            match fault.evidence.iter().find(|one| one.rule == *rule).or(fault.evidence.get(at)) {
                Some(one) => writeln!(
                    out,
                    "      seen {}, matched {}, acted {}, {} bytes",
                    one.seen, one.matched, one.acted, one.bytes
                )?,
                None => writeln!(out, "      no evidence")?,
            }
        }
        for holder in &fault.held_by {
            writeln!(out, "    held by: {holder}")?;
        }
        for delay in &fault.delays {
            writeln!(out, "    {delay}")?;
        }
        for remark in &fault.remarks {
            writeln!(out, "    note: {remark}")?;
        }
    }
    let metrics = findings.metrics;
    if let Some(detected) = metrics.time_to_detect {
        let bound = up_to(metrics.detect_bound);
        writeln!(out, "  time to detect       {}{bound}", seconds(detected))?;
    }
    if let Some(recovered) = metrics.time_to_recover {
        let bound = up_to(metrics.recover_bound);
        writeln!(out, "  time to recover      {}{bound}", seconds(recovered))?;
    }
    if let Some(steps) = metrics.manual_steps.filter(|steps| *steps > 0) {
        writeln!(out, "  manual steps         {steps}")?;
    }
    writeln!(out, "  took {}, seed {}", seconds(findings.took), findings.seed)
}

/// How much less a time may have been than was measured.
pub(super) fn up_to(bound: Option<u64>) -> String {
    bound.map_or_else(String::new, |bound| format!(" (up to {} less)", seconds(bound)))
}

/// A moment of a run, for people.
pub(super) fn moment(at: u64) -> String {
    format!("+{:.3} s", at as f64 / 1e9)
}

pub(super) fn seconds(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

/// How many runs had which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: usize,
    inconclusive: usize,
    aborted: usize,
    errors: usize,
    worst: u8,
}

impl Tally {
    /// Counts a run.
    pub fn add(&mut self, findings: &Findings) {
        match findings.verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Fail => self.failed += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::Aborted => self.aborted += 1,
            Verdict::Error => self.errors += 1,
        }
        if severity(findings.exit) > severity(self.worst) {
            self.worst = findings.exit;
        }
    }

    /// The exit code of all runs together: the worst of them.
    pub const fn exit(&self) -> u8 {
        self.worst
    }
}

/// From best to worst: PASS, INCONCLUSIVE, FAIL, ABORTED, a bad file, a host that cannot, a tool
/// that failed, something that was not put back.
const fn severity(exit: u8) -> u8 {
    const ORDER: [Exit; 8] = [
        Exit::Pass,
        Exit::Inconclusive,
        Exit::Fail,
        Exit::Aborted,
        Exit::Usage,
        Exit::HostUnable,
        Exit::ToolFailed,
        Exit::NotHealed,
    ];
    let mut at = 0;
    while at < ORDER.len() {
        if ORDER[at] as u8 == exit {
            return at as u8;
        }
        at += 1;
    }
    u8::MAX
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Passed: {}", self.passed)?;
        writeln!(f, "Failed: {}", self.failed)?;
        let others = [
            ("Inconclusive", self.inconclusive),
            ("Aborted", self.aborted),
            ("Errors", self.errors),
        ];
        for (word, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "{word}: {count}")?;
        }
        let total = self.passed + self.failed + self.inconclusive + self.aborted + self.errors;
        write!(f, "Total: {total}")
    }
}
