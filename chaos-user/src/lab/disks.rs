//! Small filesystems for the data of processes, so that one can be filled without harm.
//!
//! They are mounted in a mount namespace of their own, which is held by a descriptor, as the lab's
//! network namespaces are: however this process ends, no mount is left.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::error::LabError;

/// Small filesystems, gone with the last descriptor.
#[derive(Debug)]
pub(super) struct Disks {
    namespace: Arc<OwnedFd>,
    folders: HashMap<PathBuf, OwnedFd>,
}

impl Disks {
    /// Mounts filesystems of so many bytes on these folders.
    pub(super) fn make(wanted: Vec<(PathBuf, u64)>) -> Result<Self, LabError> {
        // A thread that is thrown away, because it cannot go back to where it came from.
        let made = thread::Builder::new().name("disks".into()).spawn(move || make(&wanted));
        let failed = |source| LabError::File {
            operation: "make the small filesystems of",
            path: "the lab".into(),
            source,
        };
        let made = made.map_err(failed)?.join();
        made.map_err(|_| failed(io::Error::other("the thread that makes them panicked")))?
    }

    /// The mount namespace that they are in.
    pub(super) fn namespace(&self) -> &Arc<OwnedFd> {
        &self.namespace
    }

    /// A folder that is one of them.
    pub(super) fn folder(&self, path: &Path) -> Option<&OwnedFd> {
        self.folders.get(path)
    }
}

fn make(wanted: &[(PathBuf, u64)]) -> Result<Disks, LabError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| LabError::File { operation, path, source }
    };
    let root = Path::new("/");
    let namespace = failed("make a mount namespace below", root);
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| namespace(errno.into()))?;
    // Mounts that the host makes later still arrive here; none made here gets out.
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, root, None::<&str>, slave, None::<&str>)
        .map_err(|errno| failed("keep apart the mounts of", root)(errno.into()))?;
    let mut folders = HashMap::new();
    for (path, size) in wanted {
        let options = format!("size={size},mode=0700");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("chaos-disk"), path, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|errno| failed("mount a small filesystem on", path)(errno.into()))?;
        let folder = File::open(path).map_err(failed("open", path))?;
        folders.insert(path.clone(), folder.into());
    }
    let own = Path::new("/proc/thread-self/ns/mnt");
    let namespace = Arc::new(File::open(own).map_err(failed("open", own))?.into());
    Ok(Disks { namespace, folders })
}
