//! The table at the end of a test run.

use std::fmt::Write as _;

use super::{Report, Tally};
use crate::progress::human;

/// The failures, the table, and the sum as the last line.
pub(crate) fn render(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports.iter().filter(|report| !report.ok()) {
        let _ = writeln!(text, "\n{} failed:", report.name);
        for failure in &report.failures {
            let _ = writeln!(text, "    {}", failure.trim_end().replace('\n', "\n    "));
        }
        if let Some(log) = &report.log {
            let _ = writeln!(text, "    log: {}", log.display());
        }
    }
    let width = reports.iter().map(|report| report.name.len()).max().unwrap_or(0).max(5);
    let _ = writeln!(text, "\n{:<width$}  passed  failed  skipped  time", "stage");
    let mut sum = Tally::default();
    for Report { name, tally, elapsed, .. } in reports {
        sum += *tally;
        let Tally { passed, failed, skipped } = tally;
        let time = human(*elapsed);
        let _ = writeln!(text, "{name:<width$}  {passed:>6}  {failed:>6}  {skipped:>7}  {time}");
    }
    let Tally { passed, failed, skipped } = sum;
    let _ = writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(name: &str, tally: (usize, usize, usize), failures: &[&str]) -> Report {
        let (passed, failed, skipped) = tally;
        Report {
            name: name.into(),
            elapsed: Duration::from_secs(3),
            tally: Tally { passed, failed, skipped },
            failures: failures.iter().map(|&failure| failure.into()).collect(),
            log: None,
        }
    }

    #[test]
    fn the_last_line_is_the_sum() {
        let text =
            render(&[report("fmt", (1, 0, 0), &[]), report("unit", (40, 2, 3), &["a", "b\nc"])]);
        assert!(text.ends_with("\n41 passed, 2 failed, 3 skipped\n"), "{text}");
        assert!(text.contains("unit failed:\n    a\n    b\n    c\n"), "{text}");
        assert!(!text.contains("fmt failed"), "{text}");
        assert!(text.contains("unit       40       2        3  3.0 s"), "{text}");
    }

    #[test]
    fn no_stages_sum_to_nothing() {
        assert!(render(&[]).ends_with("0 passed, 0 failed, 0 skipped\n"));
    }
}
