//! Faults of processes of the lab.

use std::time::Duration;

use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::{ProcessAct, Target};
use crate::fault::{Entry, Journal, PausedUndo, Record, RuleEvidence};
use crate::host::ProcessId;
use crate::lab::{Lab, LabError};
use crate::target::{Process, ProcessError};

/// How long a process may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// What it will do, in words.
pub(super) fn explain(name: &str, target: &Target, act: ProcessAct) -> RuleText {
    let Target { node, process } = target;
    RuleText { rule: name.to_owned(), text: format!("{act} the process {process} of {node}") }
}

/// Does it.
pub(super) fn inject<'a>(
    lab: &'a Lab,
    journal: &Journal,
    name: &str,
    target: &Target,
    act: ProcessAct,
) -> Result<Box<dyn ActiveFault + 'a>, Trouble> {
    let node = lab.node(&target.node).map_err(|error| failed(&error))?;
    let process = node.process(&target.process).map_err(|error| failed(&error))?;
    let before = process.pid();
    // One that does not run cannot be hit, which is what the evidence says; it is no error.
    let done = |result: Result<(), ProcessError>| match result {
        Ok(()) => Ok(true),
        Err(ProcessError::NotRunning { .. }) => Ok(false),
        Err(error) => Err(Trouble::tool(&error)),
    };
    let mut record = None;
    let hit = match act {
        ProcessAct::Stop => done(process.stop(GRACE).map(|_| ()))?,
        ProcessAct::Kill => {
            let hit = done(process.kill())?;
            process.wait(GRACE);
            hit
        }
        ProcessAct::Pause => {
            if let Some(id) = before.and_then(ProcessId::of) {
                let name = format!("{} of {}", target.process, target.node);
                let paused = Record::Paused(PausedUndo { process: id, name, group: true });
                record = Some(journal.append(paused).map_err(|error| Trouble::tool(&error))?);
            }
            done(process.freeze())?
        }
        ProcessAct::Start => done(process.start_again())?,
        ProcessAct::Restart => {
            let hit = done(process.kill())?;
            process.wait(GRACE);
            done(process.start_again())? && hit
        }
    };
    let starts = act == ProcessAct::Start;
    let acted = if starts {
        before.is_none()
    } else {
        before.filter(|_| hit).is_some_and(|pid| match act {
            ProcessAct::Pause => is_stopped(pid),
            ProcessAct::Stop => process.pid().is_none(),
            ProcessAct::Kill | ProcessAct::Restart => process.pid() != Some(pid),
            ProcessAct::Start => false,
        })
    };
    let evidence = RuleEvidence {
        rule: name.to_owned(),
        seen: 1,
        matched: u64::from(before.is_some() != starts),
        acted: u64::from(acted),
        bytes: 0,
    };
    let ran = before.is_some() || matches!(act, ProcessAct::Restart | ProcessAct::Start);
    Ok(Box::new(Disturbed { lab, target: target.clone(), process, act, ran, evidence, record }))
}

/// Whether the kernel says that a process is stopped. The change takes the kernel a moment.
fn is_stopped(pid: u32) -> bool {
    let state = || procfs::process::Process::new(pid.cast_signed())?.stat()?.state();
    (0..100).any(|_| {
        let stopped = matches!(state(), Ok(procfs::process::ProcState::Stopped));
        if !stopped {
            std::thread::sleep(Duration::from_millis(2));
        }
        stopped
    })
}

struct Disturbed<'a> {
    lab: &'a Lab,
    target: Target,
    process: &'a Process,
    act: ProcessAct,
    /// Whether it ran before, or is to run from now on.
    ran: bool,
    evidence: RuleEvidence,
    record: Option<Entry>,
}

impl ActiveFault for Disturbed<'_> {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        if !self.ran {
            // What was down before is left alone.
            return Ok((vec![self.evidence.clone()], Vec::new()).into());
        }
        let result = match self.act {
            ProcessAct::Pause => self.process.thaw(),
            ProcessAct::Stop | ProcessAct::Kill | ProcessAct::Restart | ProcessAct::Start => {
                self.process.start_again()
            }
        };
        result.map_err(|error| Trouble::new(&error, Exit::NotHealed))?;
        if let Some(record) = self.record {
            // It goes on by now; this reads that back.
            record.undo().map_err(|error| Trouble::new(&error, Exit::NotHealed))?;
        }
        let mut remarks = Vec::new();
        if let Err(error) = self.lab.await_ready(&self.target.node, &self.target.process) {
            // Not the tool's doing: the system may be what cannot come back.
            remarks.push(error.to_string());
        }
        Ok((vec![self.evidence.clone()], remarks).into())
    }
}

fn failed(error: &LabError) -> Trouble {
    Trouble::new(error, Exit::Usage)
}
