//! What a process sees around it: its network namespace, and files that make names resolve.
//!
//! Everything here that runs between fork and exec is a plain system call on memory that was
//! prepared before: after a fork in a program with threads, nothing else is safe.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::process_error::SandboxStep;
use crate::kernel::netns::NetNs;

/// What a process is to see around it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The network namespace that it runs in.
    pub netns: NetNs,
    /// The mount namespace that it begins in; `None` is this process's.
    pub mounts: Option<Arc<OwnedFd>>,
    /// Files that it sees in the place of the host's: (what it sees, where it sees it). One whose
    /// place does not exist on this host is left out.
    pub files: Vec<(PathBuf, PathBuf)>,
}

impl Surroundings {
    /// A network namespace, and all else as it is for this process.
    pub fn of(netns: NetNs) -> Self {
        Self { netns, mounts: None, files: Vec::new() }
    }

    /// A path that leads to the mount namespace while this process lives.
    pub fn mounts_path(&self) -> Option<PathBuf> {
        let mounts = self.mounts.as_ref()?;
        Some(format!("/proc/{}/fd/{}", std::process::id(), mounts.as_raw_fd()).into())
    }
}

/// The same, in the form that the child can use.
#[derive(Debug)]
pub(super) struct Prepared {
    inside: Option<Inside>,
    own_session: bool,
    own_proc: bool,
}

#[derive(Debug)]
struct Inside {
    netns: NetNs,
    /// The mount namespace, and the working directory: entering it loses that.
    mounts: Option<(Arc<OwnedFd>, CString)>,
    files: Vec<(CString, CString)>,
    cgroup: bool,
}

impl Prepared {
    pub(super) fn new(
        surroundings: Option<&Surroundings>,
        directory: Option<&Path>,
        own_session: bool,
        own_proc: bool,
    ) -> Self {
        let inside = surroundings.map(|surroundings| Inside {
            netns: surroundings.netns.clone(),
            mounts: surroundings.mounts.clone().map(|mounts| {
                let here = directory.map_or_else(std::env::current_dir, |path| Ok(path.to_owned()));
                let directory = here.ok().and_then(|path| c_path(&path));
                (mounts, directory.unwrap_or_else(|| c"/".into()))
            }),
            files: surroundings
                .files
                .iter()
                .filter(|(_, place)| place.exists())
                .filter_map(|(file, place)| Some((c_path(file)?, c_path(place)?)))
                .collect(),
            cgroup: Path::new("/sys/fs/cgroup").is_dir(),
        });
        Self { inside, own_session, own_proc }
    }

    /// Runs in the child. Tells the failing step through `report`.
    pub(super) fn enter(&self, report: &OwnedFd) -> io::Result<()> {
        self.steps().map_err(|(step, error)| {
            // If even this fails, the parent still learns the errno.
            let _ = rustix::io::write(report, &[step as u8]);
            error
        })
    }

    fn steps(&self) -> Result<(), (SandboxStep, io::Error)> {
        if self.own_session {
            nix::unistd::setsid().map_err(at(SandboxStep::Session))?;
        }
        set_pdeathsig(Signal::SIGKILL).map_err(at(SandboxStep::DeathSignal))?;
        SigSet::empty().thread_set_mask().map_err(at(SandboxStep::SignalMask))?;
        let Some(inside) = &self.inside else { return Ok(()) };
        setns(inside.netns.as_fd(), CloneFlags::CLONE_NEWNET).map_err(at(SandboxStep::NetNs))?;
        if let Some((mounts, directory)) = &inside.mounts {
            setns(mounts, CloneFlags::CLONE_NEWNS).map_err(at(SandboxStep::MountNs))?;
            nix::unistd::chdir(directory.as_c_str()).map_err(at(SandboxStep::MountNs))?;
        }
        unshare(CloneFlags::CLONE_NEWNS).map_err(at(SandboxStep::MountNs))?;
        // Mounts that the host makes later still arrive here; none made here gets out.
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        mount(None::<&str>, c"/", None::<&str>, slave, None::<&str>)
            .map_err(at(SandboxStep::MountNs))?;
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if self.own_proc {
            mount(Some(c"proc"), c"/proc", Some(c"proc"), quiet, None::<&str>)
                .map_err(at(SandboxStep::Proc))?;
        }
        inside.mount_sys(quiet).map_err(|error| (SandboxStep::Sys, error))?;
        for (file, place) in &inside.files {
            let bind = MsFlags::MS_BIND;
            mount(Some(file.as_c_str()), place.as_c_str(), None::<&str>, bind, None::<&str>)
                .map_err(at(SandboxStep::Files))?;
        }
        Ok(())
    }
}

impl Inside {
    /// `/sys/class/net` shows the devices of the namespace that mounted it; programs look for
    /// their memory limit in `/sys/fs/cgroup`, so that is carried over.
    fn mount_sys(&self, flags: MsFlags) -> io::Result<()> {
        let tree = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let cgroup =
            if self.cgroup { Some(open_tree(CWD, c"/sys/fs/cgroup", tree)?) } else { None };
        mount(Some(c"sysfs"), c"/sys", Some(c"sysfs"), flags, None::<&str>)?;
        if let Some(cgroup) = cgroup {
            let from_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            let cgroup: BorrowedFd<'_> = cgroup.as_fd();
            move_mount(cgroup, c"", CWD, c"/sys/fs/cgroup", from_fd)?;
        }
        Ok(())
    }
}

fn at(step: SandboxStep) -> impl FnOnce(nix::Error) -> (SandboxStep, io::Error) {
    move |errno| (step, errno.into())
}

/// A path with a zero byte inside names no file; [`Path::exists`] is false for it.
fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}
