//! Cgroups that get less than they want.

use std::path::Path;
use std::time::Duration;

use super::disk_error;
use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::exit::Exit;
use crate::experiment::{Bytes, CgroupName, Confined, PressureSpec, Subject, Supervised};
use crate::fault::{ActivePressure, CgroupPressure, Journal, PressureEvidence};
use crate::host::{CgroupError, Cgroups, disk_of};
use crate::plan::{CgroupRef, Pressure};

/// What it will do, in words.
pub(super) fn explain(name: &str, spec: &PressureSpec) -> RuleText {
    let PressureSpec { confined, pressure, path } = spec;
    let text = match pressure {
        Pressure::Cpu(cpus) => format!("{confined} runs on at most {cpus}"),
        Pressure::Memory(high) => {
            format!("{confined} is slowed down when it takes more memory than {high}")
        }
        Pressure::Io(limits) => format!(
            "{confined} {} in a second, on the disk of {}",
            limits.in_words(),
            path.as_deref().unwrap_or_default()
        ),
    };
    RuleText { rule: name.to_owned(), text }
}

/// The cgroup that is hit; `None` if nothing runs in it. `pid` finds a process that is no service's.
pub(super) fn cgroup(
    confined: &Confined,
    pid: impl FnOnce(&Subject) -> Result<Option<u32>, Trouble>,
) -> Result<Option<CgroupRef>, Trouble> {
    let subject = match confined {
        Confined::Cgroup(path) => {
            return disk_error::cgroup(&CgroupName::Path(path.clone())).map(Some);
        }
        Confined::Subject(Subject::Service(Supervised::Unit { name })) => {
            return disk_error::cgroup(&CgroupName::Unit(name.clone())).map(Some);
        }
        Confined::Subject(subject) => subject,
    };
    let cgroups = Cgroups::find().map_err(|error| disk_error::trouble(&error))?;
    let found = if let Subject::Service(service) = subject {
        let seen = service.look().map_err(|error| Trouble::new(&error, error.exit()))?;
        seen.pid.map(|pid| cgroups.by_container(pid, &seen.id))
    } else {
        pid(subject)?.map(|pid| cgroups.by_process(pid))
    };
    match found {
        // It has just ended.
        None | Some(Err(CgroupError::NoProcess { .. })) => Ok(None),
        Some(Ok(cgroup)) => Ok(Some(cgroup)),
        Some(Err(error)) => Err(disk_error::trouble(&error)),
    }
}

/// Lowers the limit. Names of `spec` are filled in; `path` is where the disk is, if it is about one.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    spec: &PressureSpec,
    cgroup: Option<CgroupRef>,
    path: Option<&Path>,
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let disk = path.map(disk_of).transpose();
    let device = disk.map_err(|error| Trouble::new(&error, Exit::Usage))?;
    let pressure = spec.pressure.clone();
    let active = cgroup.map(|cgroup| {
        let what = spec.confined.to_string();
        let wanted = CgroupPressure { what, cgroup, pressure: pressure.clone(), device };
        wanted.start(journal).map_err(|error| Trouble::new(&error, error.exit()))
    });
    Ok(Box::new(Squeezed { active: active.transpose()?, pressure, name: name.to_owned() }))
}

struct Squeezed {
    /// `None` if nothing runs there.
    active: Option<ActivePressure>,
    pressure: Pressure,
    name: String,
}

impl ActiveFault for Squeezed {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        let Some(active) = self.active else {
            let remark = "it did not run, so there was nothing to limit".to_owned();
            let evidence = PressureEvidence::default().as_rule(&self.name);
            return Ok((vec![evidence], vec![remark]).into());
        };
        let seen = active.heal().map_err(|error| Trouble::new(&error, Exit::NotHealed))?;
        Ok((vec![seen.as_rule(&self.name)], remarks(&self.pressure, &seen)).into())
    }
}

/// What the kernel says about it, in words.
fn remarks(pressure: &Pressure, seen: &PressureEvidence) -> Vec<String> {
    if let Some(before) = &seen.as_low_before {
        return vec![format!("{} was {before} before, which is as low", pressure.file())];
    }
    let mut remarks = Vec::new();
    if seen.gone {
        remarks.push("its cgroup was gone in the end, and the limit with it".into());
    } else if seen.limited < seen.looks {
        remarks.push(format!("somebody else has set {} meanwhile", pressure.file()));
    }
    let counted = &seen.counted;
    let waited = Duration::from_micros(counted.waited).as_secs_f64();
    if seen.limited > 0 && seen.held == 0 {
        remarks.push("it never wanted more than it was allowed".into());
    } else if seen.held > 0 {
        remarks.push(match pressure {
            Pressure::Cpu(_) => format!(
                "held up in {} of {} periods, {waited:.1} s on all CPUs together",
                counted.held, counted.periods
            ),
            Pressure::Memory(_) => {
                format!("slowed down {} times; it waited for memory for {waited:.1} s", counted.held)
            }
            Pressure::Io(_) => {
                let [read, written, reads, writes] = counted.served;
                let (read, written) = (Bytes::new(read), Bytes::new(written));
                format!(
                    "{read} were read in {reads} operations, {written} written in {writes}; it waited \
                     for the disk for {waited:.1} s"
                )
            }
        });
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Counted, Cpus, IoMax};

    #[test]
    fn what_the_kernel_counted_is_told_in_words() {
        let cpu = Pressure::Cpu(Cpus::new(0.1).unwrap());
        let io = Pressure::Io(IoMax { rbps: Some(1), ..IoMax::default() });
        let counted = Counted { periods: 12, held: 9, waited: 1_250_000, served: [4096, 0, 1, 0] };
        let seen =
            PressureEvidence { looks: 4, limited: 4, held: 3, counted, ..Default::default() };
        let told = |pressure, seen: &PressureEvidence| remarks(pressure, seen).join("; ");
        insta::assert_snapshot!(told(&cpu, &seen), @"held up in 9 of 12 periods, 1.2 s on all CPUs together");
        insta::assert_snapshot!(told(&io, &seen), @"4KiB were read in 1 operations, 0B written in 0; it waited for the disk for 1.2 s");
        let idle = PressureEvidence { held: 0, ..seen.clone() };
        insta::assert_snapshot!(told(&cpu, &idle), @"it never wanted more than it was allowed");
        let gone = PressureEvidence { limited: 2, gone: true, ..idle.clone() };
        insta::assert_snapshot!(told(&cpu, &gone), @"its cgroup was gone in the end, and the limit with it; it never wanted more than it was allowed");
        let theirs = PressureEvidence { limited: 0, ..idle };
        insta::assert_snapshot!(told(&cpu, &theirs), @"somebody else has set cpu.max meanwhile");
        let before = Some("1000 100000".to_owned());
        let low = PressureEvidence { as_low_before: before, ..Default::default() };
        insta::assert_snapshot!(told(&cpu, &low), @"cpu.max was 1000 100000 before, which is as low");
    }
}
