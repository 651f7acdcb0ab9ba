//! One run on a host at a time, unless their scopes are disjoint.
//!
//! The locks are the kernel's (`flock`), so they end with the last process that holds them, and who
//! holds them is read from `/proc/locks`: nothing that a dead process wrote down is believed.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::OFlags;

use super::JournalError;
use super::folder::{Folder, state_dirs};
use crate::host::boot_time;
use crate::kernel::netns::NetNs;

/// What a run changes: the devices of a network namespace, or some of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunScope {
    netns: u64,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    All,
    Device(String),
    /// The root qdisc of a device. There is one, so nobody else can have it; faults by flow on the
    /// device compose with it.
    Root(String),
}

impl RunScope {
    /// These devices of a namespace; none is all of them.
    pub fn of(netns: &NetNs, devices: &[String]) -> Vec<Self> {
        let netns = netns.inode();
        if devices.is_empty() {
            return vec![Self { netns, place: Place::All }];
        }
        let place = |device: &String| Self { netns, place: Place::Device(device.clone()) };
        devices.iter().map(place).collect()
    }

    /// The root qdisc of a device, which is never shared.
    pub fn root_qdisc(netns: &NetNs, device: &str) -> Self {
        Self { netns: netns.inode(), place: Place::Root(device.into()) }
    }

    /// Whether who is alone there is alone at `other`, too.
    fn covers(&self, other: &Self) -> bool {
        self.netns == other.netns
            && match (&self.place, &other.place) {
                (Place::All, Place::Device(_) | Place::Root(_)) => true,
                (Place::Device(device), Place::Root(root)) => device == root,
                _ => false,
            }
    }
}

/// Whom a run shares its scope with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// With nobody.
    Alone,
    /// With other runs that share it too: their faults compose.
    Composing,
}

/// Somebody else is at work there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another run is at work on {what}: {}; wait for it, or end it with `chaos heal`",
    list(holders)
)]
pub struct Busy {
    /// On what.
    pub what: String,
    /// Who.
    pub holders: Vec<Holder>,
}

fn list(holders: &[Holder]) -> String {
    let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "a process that cannot be seen from here".into()
    } else {
        names.join("; ")
    }
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// When it began.
    pub since: Option<Timestamp>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (`{}`)", self.pid, self.command)?;
        self.since.map_or(Ok(()), |since| write!(f, " since {since:.0}"))
    }
}

/// Why a scope could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// Somebody else has it.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The locks could not be had at all.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The right to change what the scopes name, until it is dropped.
#[derive(Debug)]
pub struct ScopeLock {
    _locks: Vec<Flock<File>>,
}

/// Who only looks whether a lock is free holds it for an instant, in which others find it taken.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

impl ScopeLock {
    /// For a run that changes nothing which others could.
    pub fn none() -> Self {
        Self { _locks: Vec::new() }
    }

    /// Takes all of them or none.
    pub fn take(scopes: &[RunScope], sharing: Sharing) -> Result<Self, ScopeError> {
        let state = state_dirs().swap_remove(0);
        let folder = match Folder::of_state(&state, true)? {
            Some(state) => state.child("scopes", true)?,
            None => None,
        };
        let Some(folder) = folder else { return Ok(Self::none()) };
        Ok(Self { _locks: take_all(&folder, scopes, sharing)? })
    }
}

fn take_all(
    folder: &Folder,
    scopes: &[RunScope],
    sharing: Sharing,
) -> Result<Vec<Flock<File>>, ScopeError> {
    let mut locks = Vec::new();
    for scope in scopes.iter().collect::<BTreeSet<_>>() {
        // Whoever is alone at the whole would find itself in its own way.
        if sharing == Sharing::Composing || !scopes.iter().any(|other| other.covers(scope)) {
            take_one(folder, scope, sharing, &mut locks)?;
        }
    }
    Ok(locks)
}

/// A whole namespace excludes its devices, in three files: `N` for the namespace, which whoever is
/// at a device shares; `N-all` and `N-one`, by which those who share the whole and those who are
/// alone at a device exclude each other, but not themselves; and one file per device and per root
/// qdisc.
fn take_one(
    folder: &Folder,
    scope: &RunScope,
    sharing: Sharing,
    locks: &mut Vec<Flock<File>>,
) -> Result<(), ScopeError> {
    const SHARED: FlockArg = FlockArg::LockSharedNonblock;
    const ALONE: FlockArg = FlockArg::LockExclusiveNonblock;
    let RunScope { netns, place } = scope;
    let base = format!("netns-{netns}");
    let (all, one) = (format!("{base}-all"), format!("{base}-one"));
    let whole = format!("network namespace {netns}");
    match (place, sharing) {
        (Place::All, Sharing::Alone) => locks.push(lock(folder, &base, ALONE, &whole)?),
        (Place::All, Sharing::Composing) => {
            locks.push(lock(folder, &base, SHARED, &whole)?);
            locks.push(lock(folder, &all, SHARED, &whole)?);
            drop(lock(folder, &one, ALONE, &whole)?);
        }
        (Place::Root(device), _) => {
            let what = format!("the root qdisc of {device} of {whole}");
            locks.push(lock(folder, &base, SHARED, &what)?);
            locks.push(lock(folder, &format!("{base}-device-{device}"), SHARED, &what)?);
            locks.push(lock(folder, &format!("{base}-root-{device}"), ALONE, &what)?);
        }
        (Place::Device(device), sharing) => {
            let what = format!("device {device} of {whole}");
            let own = format!("{base}-device-{device}");
            locks.push(lock(folder, &base, SHARED, &what)?);
            if sharing == Sharing::Alone {
                locks.push(lock(folder, &own, ALONE, &what)?);
                locks.push(lock(folder, &one, SHARED, &what)?);
                drop(lock(folder, &all, ALONE, &what)?);
            } else {
                locks.push(lock(folder, &own, SHARED, &what)?);
            }
        }
    }
    Ok(())
}

fn lock(folder: &Folder, name: &str, how: FlockArg, what: &str) -> Result<Flock<File>, ScopeError> {
    let Some(mut file) = folder.file(name, OFlags::CREATE | OFlags::RDWR)? else {
        return Err(JournalError::Unsafe {
            path: folder.path().join(name),
            why: "it vanished".into(),
        }
        .into());
    };
    for _ in 0..ATTEMPTS {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((back, _)) => file = back,
        }
        std::thread::sleep(PAUSE);
    }
    Err(Busy { what: what.to_owned(), holders: holders(&file) }.into())
}

/// Who holds a lock on a file, by what the kernel says.
fn holders(file: &File) -> Vec<Holder> {
    let Ok(about) = file.metadata() else { return Vec::new() };
    let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    holding(&text, about.ino()).into_iter().map(describe).collect()
}

/// Processes with a flock on an inode. File systems on several devices tell another device than
/// `stat` does, so that is not compared.
fn holding(locks: &str, inode: u64) -> BTreeSet<u32> {
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF"; one that waits has "->" in front.
        let [_, "FLOCK", _, _, pid, place, ..] = fields.as_slice() else { return None };
        let found: u64 = place.rsplit(':').next()?.parse().ok()?;
        (found == inode).then(|| pid.parse().ok())?
    };
    locks.lines().filter_map(holder).filter(|&pid| pid != 0).collect()
}

fn describe(pid: u32) -> Holder {
    let process = procfs::process::Process::new(pid.cast_signed()).ok();
    let command = process.as_ref().and_then(|process| process.cmdline().ok()).unwrap_or_default();
    let command = if command.is_empty() { "?".to_owned() } else { command.join(" ") };
    let since = process.and_then(|process| process.stat().ok()).and_then(|stat| {
        let began = stat.starttime.checked_mul(1_000_000_000 / procfs::ticks_per_second())?;
        let age = boot_time().checked_sub(began)?;
        Timestamp::now().checked_sub(SignedDuration::from_nanos(i64::try_from(age).ok()?)).ok()
    });
    Holder { pid, command, since }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None` is all, `/a` the root qdisc of `a`.
    fn scope(device: Option<&str>) -> RunScope {
        let place = |text: &str| match text.strip_prefix('/') {
            Some(device) => Place::Root(device.into()),
            None => Place::Device(text.into()),
        };
        RunScope { netns: 7, place: device.map_or(Place::All, place) }
    }

    #[test]
    fn what_overlaps_excludes_unless_both_compose() {
        use Sharing::{Alone, Composing};
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::of_state(state.path(), true).unwrap().unwrap();
        let folder = folder.child("scopes", true).unwrap().unwrap();
        let both = |(first, how): (Option<&str>, Sharing),
                    (second, other): (Option<&str>, Sharing)| {
            let (mut locks, mut more) = (Vec::new(), Vec::new());
            take_one(&folder, &scope(first), how, &mut locks).unwrap();
            take_one(&folder, &scope(second), other, &mut more)
        };
        let (all, a, b) = (None, Some("a"), Some("b"));
        let (root, other_root) = (Some("/a"), Some("/b"));
        for (first, second, fits) in [
            ((all, Alone), (all, Alone), false),
            ((all, Alone), (all, Composing), false),
            ((all, Composing), (all, Composing), true),
            ((all, Alone), (a, Composing), false),
            ((a, Alone), (b, Alone), true),
            ((a, Alone), (a, Alone), false),
            ((a, Alone), (a, Composing), false),
            ((a, Alone), (b, Composing), true),
            ((a, Composing), (a, Composing), true),
            ((a, Alone), (all, Composing), false),
            ((a, Composing), (all, Composing), true),
            ((a, Composing), (all, Alone), false),
            ((root, Alone), (root, Alone), false),
            ((root, Alone), (other_root, Alone), true),
            ((root, Alone), (a, Composing), true),
            ((root, Alone), (all, Composing), true),
            ((root, Alone), (a, Alone), false),
            ((root, Alone), (b, Alone), true),
            ((root, Alone), (all, Alone), false),
        ] {
            assert_eq!(both(first, second).is_ok(), fits, "{first:?} then {second:?}");
            assert_eq!(both(second, first).is_ok(), fits, "{second:?} then {first:?}");
        }
        // Another namespace is another scope.
        let (mut locks, mut more) = (Vec::new(), Vec::new());
        take_one(&folder, &scope(all), Alone, &mut locks).unwrap();
        let other = RunScope { netns: 8, place: Place::All };
        take_one(&folder, &other, Alone, &mut more).unwrap();
        let refused = take_one(&folder, &scope(a), Alone, &mut more).unwrap_err().to_string();
        let own = format!("device a of network namespace 7: process {}", std::process::id());
        assert!(refused.contains(&own) && refused.contains(" since "), "{refused}");
    }

    #[test]
    fn nobody_is_in_their_own_way() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::of_state(state.path(), true).unwrap().unwrap();
        let places = [None, Some("a"), Some("/a"), Some("/b"), Some("b")];
        for first in 0..places.len() {
            let scopes: Vec<_> = places[first..].iter().copied().map(scope).collect();
            for sharing in [Sharing::Alone, Sharing::Composing] {
                let taken = take_all(&folder, &scopes, sharing);
                assert!(taken.is_ok(), "{sharing:?} at {scopes:?}: {taken:?}");
            }
        }
    }

    #[test]
    fn holders_are_read_from_the_kernels_list() {
        let text = "1: FLOCK  ADVISORY  WRITE 10 08:01:77 0 EOF\n\
                    1: -> FLOCK  ADVISORY  WRITE 11 08:01:77 0 EOF\n\
                    2: POSIX  ADVISORY  WRITE 12 08:01:77 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 13 00:1f:77 0 EOF\n\
                    4: FLOCK  ADVISORY  READ 14 00:1f:78 0 EOF\n\
                    5: FLOCK  ADVISORY  READ 0 00:1f:77 0 EOF\nnonsense\n";
        assert_eq!(holding(text, 77), BTreeSet::from([10, 13]));
    }
}
