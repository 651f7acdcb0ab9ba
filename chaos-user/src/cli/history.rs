//! `chaos history`.

use std::path::PathBuf;

use serde_json::json;

use super::output::{complain, out, say};
use super::table::table;
use crate::exit::Exit;
use crate::history::{Change, History, Summary, Trend};
use crate::verdict::Verdict;

/// Show how experiments fared over their last runs
///
/// Every `chaos run` adds a line per experiment to history.jsonl beside its results. Shown per
/// experiment: the last verdicts, the pass rate, and the mean times to detect and to recover with
/// where they go: the newer half of the runs against the older one.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// Only these experiments
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The folder that holds the folders of runs
    #[arg(long, value_name = "DIR", default_value = "chaos-results")]
    output: PathBuf,
    /// How many runs of each experiment to look at
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    last: usize,
    /// Print JSON: the trends, the summary of the runs they are about, and those runs
    #[arg(long)]
    json: bool,
}

impl HistoryArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut past = History::of(&self.output).read()?;
        if !self.names.is_empty() {
            past.records.retain(|one| self.names.contains(&one.name));
        }
        let trends = Trend::of(&past.records, self.last);
        let recent = recent(past.records, self.last);
        let summary = Summary::of(&recent);
        if past.unreadable > 0 {
            let file = self.output.join(History::FILE);
            complain(&format!(
                "chaos: {} lines of {} could not be read and are left out",
                past.unreadable,
                file.display()
            ));
        }
        if self.json {
            let all = json!({
                "experiments": trends, "summary": summary, "runs": recent,
                "unreadable": past.unreadable,
            });
            say(&serde_json::to_string_pretty(&all)?);
            return Ok(Exit::Pass);
        }
        if trends.is_empty() {
            say(&format!("no runs are remembered in {}", self.output.display()));
            return Ok(Exit::Pass);
        }
        let rows: Vec<Vec<String>> = trends.iter().map(row).collect();
        out(&table(
            &[
                "experiment",
                "passed ",
                "detect ",
                "",
                "recover ",
                "",
                "steps ",
                "verdicts, oldest first",
            ],
            &rows,
        ));
        out("\n");
        out(&metrics(&summary));
        Ok(Exit::Pass)
    }
}

/// The runs that the trends are about, the oldest first.
fn recent(records: Vec<crate::history::Record>, last: usize) -> Vec<crate::history::Record> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut recent: Vec<_> = records
        .into_iter()
        .rev()
        .filter(|one| {
            let count = counts.entry(one.name.clone()).or_default();
            *count += 1;
            *count <= last
        })
        .collect();
    recent.reverse();
    recent
}

/// The metrics of some runs against their targets.
pub(super) fn metrics(summary: &Summary) -> String {
    let rows: Vec<Vec<String>> = summary
        .lines
        .iter()
        .map(|line| {
            let reached = match line.reached {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "-",
            };
            vec![
                line.metric.to_owned(),
                line.target.to_owned(),
                reached.to_owned(),
                line.measured.clone(),
            ]
        })
        .collect();
    table(&["metric", "target", "reached", "measured"], &rows)
}

fn row(trend: &Trend) -> Vec<String> {
    let time = |time: Option<u64>| {
        time.map_or_else(|| "-".to_owned(), |ns| format!("{:.3} s", ns as f64 / 1e9))
    };
    let arrow = |change| match change {
        Some(Change::Falling) => "↓",
        Some(Change::Rising) => "↑",
        Some(Change::Steady) => "=",
        None => "",
    };
    let verdicts: Vec<&str> = trend.verdicts.iter().map(|verdict| short(*verdict)).collect();
    vec![
        trend.name.clone(),
        format!("{:.0} %", trend.pass_rate * 100.0),
        time(trend.time_to_detect),
        arrow(trend.detect_change).to_owned(),
        time(trend.time_to_recover),
        arrow(trend.recover_change).to_owned(),
        trend.manual_steps.map_or_else(|| "-".to_owned(), |steps| steps.to_string()),
        verdicts.join(" "),
    ]
}

const fn short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Aborted => "aborted",
        Verdict::Error => "ERROR",
    }
}
