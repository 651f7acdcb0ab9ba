//! What came out, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::plan::{Blow, Point};
use crate::subject::Subject;

/// What was seen after a blow that left the machine as it was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// From the blow until traffic flowed again, if the fault was in force.
    pub(crate) flows: Option<Duration>,
    /// From the blow until everything was as before.
    pub(crate) clean: Duration,
    /// Whether `chaos heal` had to be run for that, as it has to when nobody is left to do it.
    pub(crate) by_hand: bool,
}

#[derive(Debug, Default)]
struct Row {
    points: usize,
    failed: usize,
    by_hand: usize,
    flows: Vec<Duration>,
    clean: Duration,
}

#[derive(Debug)]
pub(crate) struct Table {
    seed: u64,
    rows: BTreeMap<(&'static str, Blow), Row>,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rows: BTreeMap::new() }
    }

    pub(crate) fn add(
        &mut self,
        subject: Subject,
        point: &Point,
        outcome: &Result<Outcome, String>,
    ) {
        let row = self.rows.entry((subject.name(), point.blow)).or_default();
        row.points += 1;
        let &Ok(Outcome { flows, clean, by_hand }) = outcome else {
            row.failed += 1;
            return;
        };
        row.by_hand += usize::from(by_hand);
        row.flows.extend(flows);
        row.flows.sort();
        row.clean = row.clean.max(clean);
    }

    pub(crate) fn failures(&self) -> usize {
        self.rows.values().map(|row| row.failed).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points: usize = self.rows.values().map(|row| row.points).sum();
        writeln!(f, "{points} points, seed {}, {} failed.\n", self.seed, self.failures())?;
        writeln!(
            f,
            "| fault | what happens | points | in force then | traffic flows, median and worst | all as before, worst | needed `chaos heal` | failed |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for ((subject, blow), row) in &self.rows {
            let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
            let flows = match row.flows.as_slice() {
                [] => "–".to_owned(),
                [.., worst] => {
                    let median = row.flows[row.flows.len() / 2];
                    format!("{}, {}", ms(median), ms(*worst))
                }
            };
            writeln!(
                f,
                "| {subject} | {} | {} | {} | {flows} | {} | {} | {} |",
                blow.text(),
                row.points,
                row.flows.len(),
                ms(row.clean),
                row.by_hand,
                row.failed
            )?;
        }
        Ok(())
    }
}
