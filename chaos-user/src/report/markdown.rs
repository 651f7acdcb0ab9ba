//! The report for a pull request or an issue.

use std::fmt::{self, Write as _};

use super::terminal::{moment, seconds, up_to};
use crate::verdict::Findings;

/// What a run showed, as Markdown.
pub fn markdown(findings: &Findings) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, findings);
    text
}

fn write(out: &mut String, findings: &Findings) -> fmt::Result {
    let Findings { name, title, verdict, because, .. } = findings;
    writeln!(out, "## {verdict}: {} (`{name}`)\n\n{}\n", cell(title), cell(because))?;
    writeln!(out, "| question | answer | why |\n|---|---|---|")?;
    for judgement in &findings.judgements {
        let reasons: Vec<String> = judgement.reasons.iter().map(|reason| cell(reason)).collect();
        let (question, answer) = (judgement.question.words(), judgement.status.word());
        writeln!(out, "| {question} | {answer} | {} |", reasons.join("<br>"))?;
    }
    for failure in &findings.failures {
        writeln!(out, "\n### `{}` {}\n", cell(&failure.probe), failure.when())?;
        writeln!(out, "- expected: {}", cell(&failure.expected))?;
        writeln!(out, "- observed: {}", cell(&failure.seen))?;
        let (failures, looks) = (failure.failures, failure.looks);
        let (at, wall) = (moment(failure.at), &failure.wall);
        writeln!(out, "- at {at} ({wall}), {failures} of {looks} looks")?;
        if !failure.log.is_empty() {
            // Indented, so that nothing in a line can end the block.
            writeln!(out, "- logs around then:\n")?;
        }
        for line in &failure.log {
            writeln!(out, "      {} {} | {}", moment(line.at), line.source, line.text)?;
        }
    }
    if !findings.faults.is_empty() {
        writeln!(out, "\n| rule | seen | matched | acted | bytes |\n|---|--:|--:|--:|--:|")?;
    }
    for rule in findings.faults.iter().flat_map(|fault| &fault.evidence) {
        let name = cell(&rule.rule);
        let (seen, matched, acted, bytes) = (rule.seen, rule.matched, rule.acted, rule.bytes);
        writeln!(out, "| {name} | {seen} | {matched} | {acted} | {bytes} |")?;
    }
    let mut heads = Some("\n| rule | packets held | mean | p50 | p99 |\n|---|--:|--:|--:|--:|");
    for delay in findings.faults.iter().flat_map(|fault| &fault.delays) {
        if let Some(heads) = heads.take() {
            writeln!(out, "{heads}")?;
        }
        let [mean, p50, p99] =
            [delay.mean_ns, delay.p50_ns, delay.p99_ns].map(|ns| ns.map_or("–".into(), seconds));
        writeln!(out, "| {} | {} | {mean} | {p50} | {p99} |", cell(&delay.rule), delay.packets)?;
    }
    for fault in &findings.faults {
        for holder in &fault.held_by {
            writeln!(out, "\nPackets of `{}` were held by: {}", cell(&fault.fault), cell(holder))?;
        }
    }
    writeln!(out)?;
    let metrics = findings.metrics;
    for (what, time, bound) in [
        ("detect", metrics.time_to_detect, metrics.detect_bound),
        ("recover", metrics.time_to_recover, metrics.recover_bound),
    ] {
        if let Some(time) = time {
            writeln!(out, "- time to {what}: {}{}", seconds(time), up_to(bound))?;
        }
    }
    if let Some(steps) = metrics.manual_steps {
        writeln!(out, "- manual steps: {steps}")?;
    }
    let Findings { took, seed, host, tool, began, .. } = findings;
    let took = seconds(*took);
    writeln!(out, "- began {began}, took {took}, seed {seed}, on {host}, chaos {tool}")
}

/// Text that cannot break out of a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}
