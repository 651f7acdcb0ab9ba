//! `chaos status`.

use std::time::Duration;

use serde::Serialize;

use super::table;
use crate::exit::Exit;
use crate::fault::{Record, RootNetemRecord, RuleEvidence, Undo, leftovers, live_counters, runs};
use crate::host::boot_time;

/// Show what is active on this host, with live counters, and what crashed runs left
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    name: String,
    live: bool,
    pid: Option<u32>,
    guardian: Option<u32>,
    /// Of a dead run: what may be left.
    left: Vec<String>,
    remaining_ms: u64,
    faults: Vec<FaultStatus>,
    /// What else is in force, or will be put back, in words.
    also: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FaultStatus {
    name: String,
    netns_inode: u64,
    attached: Vec<String>,
    rules: Vec<(String, String)>,
    evidence: Vec<RuleEvidence>,
}

impl StatusArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let status = gather()?;
        if self.json {
            println!("{}", serde_json::to_string(&status)?);
            return Ok(Exit::Pass);
        }
        if status.runs.is_empty() {
            println!("no fault is active, and nothing is left of earlier runs");
        }
        for run in &status.runs {
            let who = run.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            if !run.live {
                println!("{}{who} is dead and left a journal: run `chaos heal`", run.name);
                for left in &run.left {
                    println!("  may be left: {left}");
                }
                continue;
            }
            let ends = match run.remaining_ms {
                // Nothing of it is ended by the kernel.
                0 => String::new(),
                ms => format!(", ends in {:.1} s", Duration::from_millis(ms).as_secs_f64()),
            };
            println!("{}{who}{ends}", run.name);
            for fault in &run.faults {
                println!(
                    "  {} in net:[{}], {}",
                    fault.name,
                    fault.netns_inode,
                    fault.attached.join(", ")
                );
                for (rule, text) in &fault.rules {
                    println!("    {rule}: {text}");
                }
                if !fault.evidence.is_empty() {
                    print!("{}", table::evidence(&fault.evidence));
                }
            }
            for one in &run.also {
                println!("  {one}");
            }
        }
        Ok(Exit::Pass)
    }
}

fn gather() -> anyhow::Result<Status> {
    let mut status = Status { runs: Vec::new() };
    for run in runs()? {
        let pid = run.pid();
        let guardian = run.guardian().map(|guardian| guardian.pid);
        let left = if run.live { Vec::new() } else { leftovers(&run) };
        let mut entry = Run {
            name: run.name,
            live: run.live,
            pid,
            guardian,
            left,
            remaining_ms: 0,
            faults: Vec::new(),
            also: Vec::new(),
        };
        for record in run.records {
            let (faults, deadline) = match record {
                Record::Active { faults, deadline } => (faults, deadline),
                Record::RootNetem(RootNetemRecord { netns, undo }) => {
                    entry.faults.push(FaultStatus {
                        name: "netem".into(),
                        netns_inode: netns.inode,
                        attached: vec![format!("root qdisc {} of {}", undo.ours, undo.device)],
                        rules: Vec::new(),
                        evidence: Vec::new(),
                    });
                    continue;
                }
                Record::Passing { name, text, deadline } => {
                    entry.also.push(format!("{name}: {text}"));
                    (Vec::new(), deadline)
                }
                // Their faults say so, or they come with every lab.
                Record::Filter(_) | Record::DetourLink(_) | Record::Lab(_) => continue,
                other => {
                    let text = other.undo().map(Undo::describe).filter(|_| run.live);
                    entry.also.extend(text.map(|text| format!("to be put back: {text}")));
                    continue;
                }
            };
            let remaining = deadline.saturating_sub(boot_time()) / 1_000_000;
            entry.remaining_ms = entry.remaining_ms.max(remaining);
            for fault in faults {
                // A run that ends at this moment has taken its counters along.
                let evidence =
                    if run.live { live_counters(&fault).unwrap_or_default() } else { Vec::new() };
                entry.faults.push(FaultStatus {
                    name: fault.name,
                    netns_inode: fault.netns.inode,
                    attached: fault.attached.iter().map(ToString::to_string).collect(),
                    rules: fault.rules.into_iter().map(|rule| (rule.name, rule.text)).collect(),
                    evidence,
                });
            }
        }
        status.runs.push(entry);
    }
    Ok(status)
}
