//! What was measured, as a table and as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::stats::Spread;

/// A figure above the empty program's, or a time of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Unit of the spread.
    pub(crate) unit: String,
    /// The figure.
    pub(crate) value: Spread,
    /// Times the empty program's, measured alternately; for packets only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// What it should stay within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aim: Option<f64>,
}

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) seed: u64,
    pub(crate) rows: BTreeMap<String, Row>,
    #[serde(skip)]
    order: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: String, seed: u64) -> Self {
        Self { machine, seed, rows: BTreeMap::new(), order: Vec::new() }
    }

    /// Adds a row and prints it at once.
    pub(crate) fn add(&mut self, name: impl Into<String>, row: Row) {
        let name = name.into();
        println!("{}", line(&name, &row));
        self.order.push(name.clone());
        self.rows.insert(name, row);
    }

    /// The rows whose aim was missed, in words.
    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = |name: &&String| {
            self.rows
                .get(*name)
                .is_some_and(|row| row.aim.is_some_and(|aim| row.value.median > aim))
        };
        self.order.iter().filter(missed).cloned().collect()
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Prints what differs from an earlier run.
    pub(crate) fn compare(&self, path: &Path) -> Result<()> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let old: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of this benchmark", path.display()))?;
        println!("\nagainst {} ({})", path.display(), old.machine);
        for name in &self.order {
            let (Some(new), Some(old)) = (self.rows.get(name), old.rows.get(name)) else {
                println!("{name:<46} new");
                continue;
            };
            let (now, then) = (new.value.median, old.value.median);
            // Quartiles that do not overlap are a change; anything else may be noise.
            let apart = new.value.low > old.value.high || new.value.high < old.value.low;
            let verdict = if apart { "changed" } else { "within the spread" };
            println!("{name:<46} {then:>9.1} → {now:>9.1} {:<4} {verdict}", new.unit);
        }
        Ok(())
    }
}

fn line(name: &str, row: &Row) -> String {
    let Row { unit, value: Spread { median, low, high }, ratio, aim } = row;
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}×"));
    let aim = aim.map_or_else(String::new, |aim| {
        let verdict = if *median <= aim { "met" } else { "MISSED" };
        format!("aim ≤ {aim} {unit}: {verdict}")
    });
    format!("{name:<46} {median:>9.1} {unit:<3} [{low:.1} … {high:.1}] {ratio:>7}  {aim}")
        .trim_end()
        .to_owned()
}
