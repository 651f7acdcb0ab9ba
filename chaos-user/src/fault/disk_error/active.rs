//! Beginning, counting, and ending.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use chaos_common::disk::{DiskCounters, DiskFault, OPERATIONS, Operation};
use chaos_common::rule::Rule;
use rustix::fs::fstat;

use super::error::DiskErrorError;
use super::filesystem::kernel_device;
use crate::experiment::units::Span;
use crate::fault::lease::Keeper;
use crate::fault::precious::precious;
use crate::fault::{FaultError, RuleEvidence};
use crate::host::boot_time;
use crate::kernel::bpf::{DiskObject, lsm_asks};
use crate::plan::{CgroupRef, DiskErrno, Loss, operation_name};

/// A filesystem that is to fail.
#[derive(Debug)]
pub struct DiskError {
    /// What it is called in reports.
    pub name: String,
    /// A file or folder on it.
    pub place: OwnedFd,
    /// What that is called in messages.
    pub path: PathBuf,
    /// What operations return.
    pub errno: DiskErrno,
    /// Which operations, at least one.
    pub operations: Vec<Operation>,
    /// Whose; everybody's without one, except this process's.
    pub cgroup: Option<CgroupRef>,
    /// How many of those.
    pub share: Loss,
    /// The kernel ends it after this long.
    pub lasts: Span,
    /// Seeds every decision.
    pub seed: u64,
    /// Whether it may be a filesystem that this host or this tool depends on.
    pub force: bool,
    /// A file or folder of this tool's own, besides its state, that has to go on working.
    pub own: Option<PathBuf>,
}

/// What each operation met, by [`Operation::index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskErrorEvidence(pub [DiskCounters; OPERATIONS]);

/// A filesystem that fails. Dropping it ends that.
#[must_use = "dropping it ends the fault at once"]
#[derive(Debug)]
pub struct ActiveDiskError {
    name: String,
    operations: Vec<Operation>,
    /// Ended before the programs go.
    keeper: Option<Keeper>,
    object: DiskObject,
    deadline: u64,
}

impl DiskError {
    /// Looks whether it may fail, and whether this host can do it. Hits nothing.
    pub fn check(&self) -> Result<(), DiskErrorError> {
        let device = fstat(&self.place).map_err(|errno| self.failed(errno.into()))?.st_dev;
        let everybody = self.cgroup.is_none() && !self.force;
        if let Some(holds) = precious(device, self.own.as_deref()).filter(|_| everybody) {
            return Err(DiskErrorError::Protected { path: self.path.clone(), holds });
        }
        match lsm_asks() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DiskErrorError::Inactive),
            Err(error) => Err(DiskErrorError::Refused(error)),
        }
    }

    /// Makes it fail. On an error nothing is left behind.
    pub fn start(self) -> Result<ActiveDiskError, DiskErrorError> {
        self.check()?;
        let bpf = |error| DiskErrorError::Fault(FaultError::Bpf(error));
        let mut object = DiskObject::load(self.errno.number()).map_err(bpf)?;
        object.attach(&self.operations).map_err(bpf)?;
        // The lease comes first: without one nothing is hit, but is counted as if this process slept.
        let keeper = Keeper::start(vec![(object.lease(), None)])?;
        let now = boot_time();
        let deadline = now.saturating_add(self.lasts.nanos());
        object.arm(self.fault(now, deadline)?).map_err(bpf)?;
        let Self { name, operations, .. } = self;
        Ok(ActiveDiskError { name, operations, keeper: Some(keeper), object, deadline })
    }

    fn fault(&self, not_before: u64, not_after: u64) -> Result<DiskFault, DiskErrorError> {
        let (loss, parameters) = self.share.encode();
        let rule = Rule { not_before, not_after, seed: self.seed, loss, parameters, ..Rule::ZERO };
        let device = kernel_device(&self.place).map_err(|error| self.failed(error))?;
        // Inside a container this process has another number outside; both sides ask in its own.
        let namespace =
            std::fs::metadata("/proc/self/ns/pid").map_err(|error| self.failed(error))?;
        Ok(DiskFault {
            rule,
            cgroup: self.cgroup.as_ref().map_or(0, |cgroup| cgroup.id),
            level: self.cgroup.as_ref().map_or(0, |cgroup| u32::from(cgroup.level)),
            pidns: [namespace.dev(), namespace.ino()],
            operations: self.operations.iter().fold(0, |bits, one| bits | one.bit()),
            device,
            exempt: std::process::id(),
            ..DiskFault::ZERO
        })
    }

    fn failed(&self, source: std::io::Error) -> DiskErrorError {
        DiskErrorError::Place { what: "look at", path: self.path.clone(), source }
    }
}

impl ActiveDiskError {
    /// When the kernel ends it: CLOCK_BOOTTIME, ns.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Time until the kernel ends it.
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.deadline.saturating_sub(boot_time()))
    }

    /// What operations have met so far.
    pub fn evidence(&self) -> Result<DiskErrorEvidence, DiskErrorError> {
        self.object.counters().map(DiskErrorEvidence).map_err(|error| FaultError::Bpf(error).into())
    }

    /// Ends it. Returns the proof, and what is worth a remark.
    pub fn heal(mut self) -> Result<(RuleEvidence, Vec<String>), DiskErrorError> {
        self.object.disarm();
        self.keeper = None;
        let evidence = self.evidence()?;
        Ok((evidence.total(&self.name, &self.operations), evidence.remarks(&self.operations)))
    }
}

impl Drop for ActiveDiskError {
    fn drop(&mut self) {
        self.object.disarm();
    }
}

impl DiskErrorEvidence {
    /// All operations of the fault together.
    pub fn total(&self, name: &str, operations: &[Operation]) -> RuleEvidence {
        let mut sum = DiskCounters::ZERO;
        for operation in operations {
            sum.add(&self.0[operation.index()]);
        }
        let DiskCounters { seen, matched, acted, .. } = sum;
        RuleEvidence { rule: name.to_owned(), seen, matched, acted, bytes: 0 }
    }

    /// How often each failed, and what escaped.
    pub fn remarks(&self, operations: &[Operation]) -> Vec<String> {
        let of = |operation: &Operation| (self.0[operation.index()], operation_name(*operation));
        let failed = operations.iter().map(of).filter(|(counters, _)| counters.matched > 0).map(
            |(DiskCounters { matched, acted, .. }, name)| format!("{name} {acted} of {matched}"),
        );
        let failed = failed.collect::<Vec<_>>().join(", ");
        let mut remarks = Vec::new();
        if !failed.is_empty() {
            remarks.push(format!("failed operations: {failed}"));
        }
        let escaped: u64 = operations.iter().map(|one| of(one).0.lease_expired).sum();
        if escaped > 0 {
            remarks.push(format!(
                "{escaped} operations escaped because this process was held up for longer than its \
                 lease"
            ));
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_of_the_operations_of_the_fault_alone() {
        let mut evidence = DiskErrorEvidence([DiskCounters::ZERO; OPERATIONS]);
        evidence.0[Operation::Read.index()] = DiskCounters { seen: 90, ..DiskCounters::ZERO };
        evidence.0[Operation::Write.index()] =
            DiskCounters { seen: 9, matched: 4, acted: 3, lease_expired: 1 };
        evidence.0[Operation::Create.index()] = DiskCounters { seen: 1, ..DiskCounters::ZERO };
        let operations = [Operation::Write, Operation::Create];
        let total = evidence.total("full", &operations);
        assert_eq!((total.seen, total.matched, total.acted), (10, 4, 3));
        let remarks = evidence.remarks(&operations);
        assert_eq!(remarks[0], "failed operations: write 3 of 4");
        assert!(remarks[1].starts_with("1 operations escaped"), "{remarks:?}");
        assert!(evidence.remarks(&[Operation::Read]).is_empty());
    }
}
