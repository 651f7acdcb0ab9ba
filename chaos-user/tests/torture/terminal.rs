//! A terminal under a run, which goes away.
#![expect(unsafe_code, reason = "ioctls of terminals, and a session between fork and exec")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// An open terminal, whose text is thrown away. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Terminal {
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Gives a command a new terminal and makes it the leader of a session there.
    pub(crate) fn under(command: &mut Command) -> Self {
        let mut master = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        let unlocked: libc::c_int = 0;
        // SAFETY: both read an int, the one through a pointer to it.
        let user = unsafe {
            let errno = libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked);
            assert_eq!(errno, 0, "{}", io::Error::last_os_error());
            let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
            libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags)
        };
        assert!(user >= 0, "{}", io::Error::last_os_error());
        // SAFETY: it was just opened, for nobody else.
        let user = unsafe { File::from_raw_fd(user) };
        command.stdin(user.try_clone().unwrap()).stdout(user.try_clone().unwrap()).stderr(user);
        let lead = || {
            nix::unistd::setsid()?;
            // SAFETY: takes no pointer.
            match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: two system calls.
        unsafe { command.pre_exec(lead) };
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))
            .unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&closed);
        // What is never read would stop who writes it.
        let reader = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                while matches!(master.read(&mut [0; 4096]), Ok(1..)) {}
                thread::sleep(Duration::from_millis(1));
            }
        });
        Self { closed, reader: Some(reader) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}
