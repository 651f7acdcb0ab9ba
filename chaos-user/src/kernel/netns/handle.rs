//! The namespace as a value.

#![expect(unsafe_code, reason = "NS_GET_NSTYPE and SO_NETNS_COOKIE have no safe wrapper")]

use std::fmt;
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, fstat};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::sync::oneshot;

use super::error::{NAMED, NetNsError};
use super::runtime::NetNsRuntime;

/// What tells two living namespaces apart: device and inode in nsfs.
///
/// An inode number is used again after its namespace died; [`NetNs::cookie`] is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetNsId {
    dev: u64,
    ino: u64,
}

impl fmt::Display for NetNsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.ino)
    }
}

/// A network namespace, kept alive by an open file descriptor.
///
/// Clones share the descriptor. Two handles are equal when they mean the same namespace.
#[derive(Debug, Clone)]
pub struct NetNs {
    fd: Arc<OwnedFd>,
    id: NetNsId,
}

impl NetNs {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetNsError> {
        Self::from_path("/proc/thread-self/ns/net")
    }

    /// The namespace that the process as a whole started in or was moved to by its main thread.
    pub fn of_this_process() -> Result<Self, NetNsError> {
        Self::from_path("/proc/self/ns/net")
    }

    /// A new namespace that no name refers to; needs CAP_SYS_ADMIN.
    ///
    /// It has one device, `lo`, which is down. It ends, with all its devices, when the last
    /// descriptor, process and socket in it is gone; so nothing survives a killed owner.
    pub fn anonymous() -> Result<Self, NetNsError> {
        let made = thread::Builder::new().name("netns-new".into()).spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| NetNsError::Create { errno })?;
            Self::current()
        });
        let made = made.map_err(|_| NetNsError::Create { errno: Errno::EAGAIN })?;
        made.join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The namespace of a process.
    pub fn from_pid(pid: u32) -> Result<Self, NetNsError> {
        match Self::from_path(format!("/proc/{pid}/ns/net")) {
            Err(NetNsError::Open { errno: Errno::ENOENT | Errno::ESRCH, .. }) => {
                Err(NetNsError::NoProcess { pid })
            }
            other => other,
        }
    }

    /// The namespace that `ip netns` knows by `name`.
    pub fn from_name(name: &str) -> Result<Self, NetNsError> {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(NetNsError::Malformed { text: name.into() });
        }
        match Self::from_path(Path::new(NAMED).join(name)) {
            Err(NetNsError::Open { errno: Errno::ENOENT, .. }) => {
                let known = Self::names();
                let nearest = known
                    .iter()
                    .map(|other| (strsim::jaro_winkler(name, other), other))
                    .filter(|(score, _)| *score > 0.8)
                    .max_by(|a, b| a.0.total_cmp(&b.0))
                    .map(|(_, other)| other.clone());
                Err(NetNsError::UnknownName { name: name.into(), known, nearest })
            }
            other => other,
        }
    }

    /// The namespace behind a file: a bind mount, `/proc/PID/ns/net` or `/proc/PID/fd/N`.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, NetNsError> {
        let path = path.as_ref();
        // O_NONBLOCK, so that a FIFO given by mistake is refused instead of waited for.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = open(path, flags, Mode::empty())
            .map_err(|errno| NetNsError::Open { path: path.into(), errno })?;
        Self::checked(fd, path)
    }

    /// The namespace behind a descriptor, such as one received over a socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, NetNsError> {
        let path = PathBuf::from(format!("descriptor {}", fd.as_raw_fd()));
        Self::checked(fd, &path)
    }

    /// Reads `NAME|PID|PATH`: anything with a slash is a path, digits are a process id.
    pub fn parse(text: &str) -> Result<Self, NetNsError> {
        if text.is_empty() || text.contains('\0') {
            return Err(NetNsError::Malformed { text: text.into() });
        }
        if text.contains('/') {
            return Self::from_path(text);
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::from_name(text);
        }
        let named = Path::new(NAMED).join(text).exists();
        let pid = text.parse::<u32>();
        let running = pid.as_ref().is_ok_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
        match (pid, running, named) {
            (Ok(pid), true, true) => Err(NetNsError::Ambiguous { pid }),
            (_, false, true) => Self::from_name(text),
            (Ok(pid), _, _) => Self::from_pid(pid),
            (Err(_), ..) => Err(NetNsError::Malformed { text: text.into() }),
        }
    }

    /// The names that `ip netns` knows, sorted; empty where it was never used.
    pub fn names() -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(NAMED) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn checked(fd: OwnedFd, path: &Path) -> Result<Self, NetNsError> {
        nix::ioctl_none_bad!(ns_get_nstype, nix::request_code_none!(0xb7, 0x3));
        // SAFETY: NS_GET_NSTYPE takes no argument; the descriptor is open.
        let kind = unsafe { ns_get_nstype(fd.as_raw_fd()) };
        let what = match kind {
            Ok(libc::CLONE_NEWNET) => None,
            Ok(libc::CLONE_NEWNS) => Some("a mount namespace"),
            Ok(libc::CLONE_NEWPID) => Some("a process id namespace"),
            Ok(libc::CLONE_NEWUSER) => Some("a user namespace"),
            Ok(_) => Some("another kind of namespace"),
            Err(_) => Some("an ordinary file (is its bind mount gone?)"),
        };
        if let Some(what) = what {
            return Err(NetNsError::NotNetwork { path: path.into(), what });
        }
        let stat = fstat(&fd).map_err(|errno| NetNsError::Inspect { what: "inode", errno })?;
        Ok(Self { fd: Arc::new(fd), id: NetNsId { dev: stat.st_dev, ino: stat.st_ino } })
    }

    /// What tells this namespace from the other living ones.
    pub fn id(&self) -> NetNsId {
        self.id
    }

    /// The inode in nsfs: the number in `net:[…]`.
    pub fn inode(&self) -> u64 {
        self.id.ino
    }

    /// The kernel's number for this namespace, never used twice between boots; since Linux 5.14.
    pub fn cookie(&self) -> Result<u64, NetNsError> {
        self.run(|| netns_cookie(self.id))?
    }

    /// The namespace with this inode, if it has a name, or a process is in it or holds it open.
    pub fn find(inode: u64) -> Option<Self> {
        let is_it = |netns: &Self| netns.inode() == inode;
        let named = Self::names().into_iter().filter_map(|name| Self::from_name(&name).ok());
        if let Some(found) = named.into_iter().find(is_it) {
            return Some(found);
        }
        let processes: Vec<_> = std::fs::read_dir("/proc")
            .ok()?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .map(|entry| entry.path())
            .collect();
        let open = |path: PathBuf| Self::from_path(path).ok().filter(is_it);
        let inhabited = processes.iter().map(|process| process.join("ns/net")).find_map(open);
        inhabited.or_else(|| {
            let link = PathBuf::from(format!("net:[{inode}]"));
            processes
                .iter()
                .filter_map(|process| std::fs::read_dir(process.join("fd")).ok())
                .flat_map(Iterator::flatten)
                .map(|entry| entry.path())
                .filter(|path| std::fs::read_link(path).is_ok_and(|target| target == link))
                .find_map(open)
        })
    }

    /// A path that other processes can open while this one lives and holds the handle.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }

    /// Moves the calling thread here, for good. Only for a thread that ends soon.
    pub fn enter(&self) -> Result<(), NetNsError> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NetNsError::Enter { id: self.id, errno })
    }

    /// Runs `work` inside, on a thread of its own that is thrown away, and waits for it.
    ///
    /// A panic in `work` goes on in the caller; no thread is left in the wrong namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        thread::scope(|scope| {
            let inside = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, || self.enter().map(|()| work()))
                .map_err(|source| NetNsError::Thread { id: self.id, source })?;
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs an async `work` inside, on a current-thread runtime, and waits for it.
    ///
    /// `work` makes the future on the inside thread, so the future itself need not be [`Send`].
    /// Callable from async code too, although it blocks the calling thread.
    pub fn block_on<F>(&self, work: impl FnOnce() -> F + Send) -> Result<F::Output, NetNsError>
    where
        F: Future,
        F::Output: Send,
    {
        self.run(|| Ok(self.runtime()?.block_on(async { work().await })))?
    }

    /// Starts a thread inside that runs async tasks until the answer is dropped.
    pub fn spawn_runtime(&self) -> Result<NetNsRuntime, NetNsError> {
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let namespace = self.clone();
        let thread = thread::Builder::new()
            .name("netns-rt".into())
            .spawn(move || {
                let runtime = namespace.enter().and_then(|()| namespace.runtime());
                match runtime {
                    Ok(runtime) => {
                        // Nobody listens only if the caller is gone, and then `stopped` fires.
                        let _ = started.send(Ok(runtime.handle().clone()));
                        let _ = runtime.block_on(stopped);
                        runtime.shutdown_background();
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            })
            .map_err(|source| NetNsError::Thread { id: self.id, source })?;
        let handle = start.recv().unwrap_or_else(|_| {
            Err(NetNsError::Thread { id: self.id, source: std::io::ErrorKind::BrokenPipe.into() })
        })?;
        Ok(NetNsRuntime { handle, stop: Some(stop), thread: Some(thread) })
    }

    fn runtime(&self) -> Result<Runtime, NetNsError> {
        RuntimeBuilder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| NetNsError::Runtime { id: self.id, source })
    }
}

impl PartialEq for NetNs {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for NetNs {}

impl fmt::Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The cookie of the calling thread's namespace.
fn netns_cookie(id: NetNsId) -> Result<u64, NetNsError> {
    let inspect = |errno| NetNsError::Inspect { what: "cookie", errno };
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(inspect)?;
    let mut cookie = 0_u64;
    let mut size = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the pointers are to a u64 and to its size, both alive during the call.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    match Errno::result(answer) {
        Ok(_) => Ok(cookie),
        Err(Errno::ENOPROTOOPT) => Err(NetNsError::NoCookie { id }),
        Err(errno) => Err(inspect(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_is_itself_and_has_an_inode() {
        let here = NetNs::current().unwrap();
        assert_eq!(here, NetNs::from_pid(std::process::id()).unwrap());
        assert_eq!(here, NetNs::of_this_process().unwrap());
        assert_ne!(here.inode(), 0);
        assert_eq!(here, NetNs::from_path(here.path()).unwrap());
        assert_eq!(here.to_string(), format!("net:[{}]", here.inode()));
    }

    #[test]
    fn a_file_that_is_no_network_namespace_is_named() {
        let error = NetNs::from_path("/proc/self/ns/mnt").unwrap_err().to_string();
        assert_eq!(error, "/proc/self/ns/mnt is not a network namespace but a mount namespace");
        let error = NetNs::parse("/proc/self/status").unwrap_err().to_string();
        assert!(error.contains("an ordinary file"), "{error}");
        let error = NetNs::parse("/nonexistent").unwrap_err();
        assert!(matches!(error, NetNsError::Open { errno: Errno::ENOENT, .. }), "{error}");
    }

    #[test]
    fn names_and_numbers_that_mean_nothing_are_refused() {
        for text in ["", "a\0b", "99999999999999999999"] {
            let error = NetNs::parse(text).unwrap_err();
            assert!(matches!(error, NetNsError::Malformed { .. }), "{text:?}: {error}");
        }
        for name in ["..", ".", "a/b", ""] {
            let error = NetNs::from_name(name).unwrap_err();
            assert!(matches!(error, NetNsError::Malformed { .. }), "{name:?}: {error}");
        }
        let error = NetNs::parse("4194999").unwrap_err().to_string();
        assert!(error.contains("no such process"), "{error}");
        let error = NetNs::parse("no-such-namespace-here").unwrap_err();
        assert!(matches!(error, NetNsError::UnknownName { .. }), "{error}");
    }
}
