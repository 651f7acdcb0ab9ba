//! Many frames handed to the kernel by one system call: io_uring.

#![expect(unsafe_code, reason = "the kernel reads the memory that a submission points to")]

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use io_uring::{IoUring, opcode, squeue, types};
use nix::errno::Errno;

use super::frame::Frame;
use super::line::Slot;

/// A frame on its way back.
#[derive(Debug)]
pub(super) struct Departing {
    pub(super) slot: Slot,
    pub(super) frame: Frame,
    /// What the kernel said to it; `None` while it was not asked.
    pub(super) outcome: Option<Result<(), Errno>>,
}

/// Writes to a TAP, by the thread that made it.
pub(super) struct Ring(IoUring);

impl Ring {
    /// A ring for `width` frames at once. Refused where the kernel has none (`ENOSYS`), or none for this
    /// process (`EPERM`: sysctl kernel.io_uring_disabled, seccomp), or where it would have to
    /// block to write to a TAP (`EOPNOTSUPP`: before Linux 6.4).
    pub(super) fn new(tap: BorrowedFd<'_>, width: usize) -> Result<Self, Errno> {
        let mut builder = IoUring::builder();
        // The last two are of Linux 6.1. Completions wait for this thread, and interrupt nobody.
        builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
        let mut ring = Self(builder.build(width as u32).map_err(|error| errno(&error))?);
        ring.probe(tap)?;
        Ok(ring)
    }

    /// Whether a TAP can be asked not to block. To read nothing takes no frame away.
    fn probe(&mut self, tap: BorrowedFd<'_>) -> Result<(), Errno> {
        let nothing = std::ptr::dangling_mut();
        let entry = opcode::Read::new(types::Fd(tap.as_raw_fd()), nothing, 0)
            .rw_flags(libc::RWF_NOWAIT)
            .build();
        // SAFETY: the kernel writes no byte to a buffer of none.
        unsafe { self.queue(&entry) }?;
        let mut answer = Err(Errno::EIO);
        self.submit(1, |_, outcome| answer = outcome).map_err(|stop| stop.errno)?;
        // That it would have to wait is what one that cannot be asked does not say.
        if answer == Err(Errno::EAGAIN) { Ok(()) } else { answer }
    }

    /// Hands over frames, in this order. With an error, the ring is of no more use, and the frames
    /// without an outcome are as they were.
    pub(super) fn write(
        &mut self,
        tap: BorrowedFd<'_>,
        batch: &mut [Departing],
    ) -> Result<(), Errno> {
        let fd = types::Fd(tap.as_raw_fd());
        let mut queued = 0;
        for one in batch.iter() {
            let bytes = one.frame.bytes();
            let entry = opcode::Write::new(fd, bytes.as_ptr(), bytes.len() as u32)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
                .user_data(queued as u64);
            // SAFETY: `batch` is borrowed until this function returns. By then the kernel has completed
            // what it took, or else `leak` keeps the memory alive for ever.
            if unsafe { self.queue(&entry) }.is_err() {
                break;
            }
            queued += 1;
        }
        let stopped = self.submit(queued, |index, outcome| {
            if let Some(one) = batch.get_mut(index) {
                one.outcome = Some(outcome);
            }
        });
        stopped.map_err(|stop| {
            for one in batch.iter_mut().take(stop.taken).filter(|one| one.outcome.is_none()) {
                leak(one);
            }
            stop.errno
        })
    }

    /// # Safety
    ///
    /// What the entry points to must live until its completion was seen.
    unsafe fn queue(&mut self, entry: &squeue::Entry) -> Result<(), Errno> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.0.submission().push(entry) }.map_err(|_| Errno::ENOBUFS)
    }

    /// Submits the queued entries and waits until all have completed; `done` has the user data
    /// and the outcome of each.
    fn submit(
        &mut self,
        queued: usize,
        mut done: impl FnMut(usize, Result<(), Errno>),
    ) -> Result<(), Stop> {
        let (mut taken, mut completed) = (0, 0);
        while completed < queued {
            // Asked not to block, the kernel completes each before it looks at the next.
            let result = self.0.submit_and_wait(queued - completed);
            for completion in self.0.completion() {
                completed += 1;
                let outcome = match completion.result() {
                    error @ ..0 => Err(Errno::from_raw(error.saturating_neg())),
                    _ => Ok(()),
                };
                done(completion.user_data() as usize, outcome);
            }
            match result {
                Ok(count) => taken += count,
                Err(error) if errno(&error) == Errno::EINTR => {}
                Err(error) => return Err(Stop { taken, errno: errno(&error) }),
            }
        }
        Ok(())
    }
}

/// Why a submission did not go on, and how many entries the kernel had taken.
struct Stop {
    taken: usize,
    errno: Errno,
}

/// Lets the memory live on that the kernel may still read.
fn leak(one: &mut Departing) {
    mem::forget(mem::take(&mut one.frame));
    one.outcome = Some(Err(Errno::EIO));
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ring").field(&self.0.as_raw_fd()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::kernel::delay_line::frame::Pool;

    fn departing(pool: &mut Pool, bytes: &[u8]) -> Departing {
        let frame = pool.read(|buffer| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok::<_, ()>(Some(bytes.len()))
        });
        let frame = frame.unwrap().unwrap();
        Departing { slot: Slot::new(1).unwrap(), frame, outcome: None }
    }

    #[test]
    fn frames_go_in_order_and_each_has_its_own_outcome() {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let Ok(mut ring) = Ring::new(near.as_fd(), 16) else {
            println!("CHAOS-SKIP frames_go_in_order_and_each_has_its_own_outcome io-uring");
            return;
        };
        let (mut pool, mut taken, mut refused) = (Pool::default(), 0_u32, 0);
        // A socket takes only so many datagrams that nobody reads.
        for round in 0..64_u32 {
            let numbers = (0..16).map(|one| (round * 16 + one).to_ne_bytes());
            let mut batch: Vec<_> = numbers.map(|bytes| departing(&mut pool, &bytes)).collect();
            ring.write(near.as_fd(), &mut batch).unwrap();
            for one in batch {
                match one.outcome.unwrap() {
                    Ok(()) => {
                        assert_eq!(refused, 0, "a later one was taken");
                        taken += 1;
                    }
                    Err(errno) => {
                        assert_eq!(errno, Errno::EAGAIN);
                        refused += 1;
                    }
                }
            }
        }
        assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
        let mut bytes = [0; 8];
        for number in 0..taken {
            assert_eq!(far.recv(&mut bytes).unwrap(), 4);
            assert_eq!(bytes[..4], number.to_ne_bytes());
        }
        far.recv(&mut bytes).unwrap_err();
    }

    /// As TAP devices are before Linux 6.4.
    #[test]
    fn what_cannot_be_asked_not_to_block_is_refused() {
        let (near, _far) = UnixDatagram::pair().unwrap();
        if Ring::new(near.as_fd(), 4).is_err() {
            println!("CHAOS-SKIP what_cannot_be_asked_not_to_block_is_refused io-uring");
            return;
        }
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(Ring::new(file.as_fd(), 4).err(), Some(Errno::EOPNOTSUPP));
    }

    #[test]
    fn more_frames_than_it_is_wide_are_left_for_others() {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let Ok(mut ring) = Ring::new(near.as_fd(), 4) else {
            println!("CHAOS-SKIP more_frames_than_it_is_wide_are_left_for_others io-uring");
            return;
        };
        let mut pool = Pool::default();
        let mut batch: Vec<_> = (0..7).map(|one| departing(&mut pool, &[one])).collect();
        ring.write(near.as_fd(), &mut batch).unwrap();
        let outcomes: Vec<_> = batch.iter().map(|one| one.outcome).collect();
        assert_eq!(outcomes[..4], [Some(Ok(())); 4]);
        assert_eq!(outcomes[4..], [None; 3]);
        drop(near);
        // Who listens no more is told so, frame by frame.
        let (near, _) = UnixDatagram::pair().unwrap();
        let mut batch = vec![departing(&mut pool, &[9])];
        ring.write(near.as_fd(), &mut batch).unwrap();
        assert_eq!(batch[0].outcome, Some(Err(Errno::ECONNREFUSED)));
        assert_eq!((0..4).map(|_| far.recv(&mut [0; 2]).unwrap()).sum::<usize>(), 4);
    }
}
