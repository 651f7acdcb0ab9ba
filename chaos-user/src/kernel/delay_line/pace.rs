//! Time for the worker: clocks, precise waiting, real-time scheduling.

#![expect(unsafe_code, reason = "sched_setscheduler(2) has no safe wrapper")]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime};

use super::error::DelayLineError;

/// Over which time the worker's share of the CPU is judged, in ns.
const WINDOW: u64 = 200_000_000;
/// A real-time worker that sleeps less than this share of the time is demoted: it would starve the
/// kernel's own threads on its CPU, and the scheduler would throttle it for tens of milliseconds.
const TOO_BUSY: f64 = 0.1;
/// A demoted worker that sleeps this share again is promoted.
const CALM: f64 = 0.3;
/// The worker stops sleeping as long before a deadline as it wakes late at most in 49 of 50 cases: a step up
/// is 49 steps down.
const STEP_UP: u64 = 4_900;
const STEP_DOWN: u64 = 100;
/// Between these: whoever wakes later than that is not worth waiting for.
const SHORTEST: u64 = 5_000;
const LONGEST: u64 = 80_000;

/// CLOCK_MONOTONIC in ns.
pub(super) fn monotonic() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME in ns, the clock of leases.
pub(super) fn boottime() -> u64 {
    nanos(ClockId::CLOCK_BOOTTIME)
}

fn nanos(clock: ClockId) -> u64 {
    // Neither clock can fail on any kernel that has TCX or clsact programs.
    clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// How the worker is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// SCHED_FIFO with this priority.
    Realtime(u8),
    /// SCHED_FIFO was granted, but the line is so busy that it is suspended.
    Busy,
    /// As any thread: real time was not asked for.
    Normal,
    /// As any thread: real time was refused with this error.
    Refused(Errno),
}

/// Waits precisely, and keeps the scheduling class that the load allows.
#[derive(Debug)]
pub(super) struct Pace {
    timer: TimerFd,
    priority: u8,
    scheduling: Scheduling,
    window_start: u64,
    slept: u64,
    spin: Spin,
}

impl Pace {
    /// For the calling thread; `priority` 0 does not ask for real time. It spins for `spin` ns before
    /// a deadline; `None` is as long as it wakes late.
    pub(super) fn new(priority: u8, spin: Option<u64>) -> Result<Self, DelayLineError> {
        // Without this, timers of ordinary threads fire up to 50 µs late.
        let _ = nix::sys::prctl::set_timerslack(1);
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, flags)
            .map_err(|errno| DelayLineError::Wait { what: "timer", errno })?;
        let scheduling = match priority {
            0 => Scheduling::Normal,
            _ => match schedule(libc::SCHED_FIFO, priority) {
                Ok(()) => Scheduling::Realtime(priority),
                Err(errno) => Scheduling::Refused(errno),
            },
        };
        let window_start = monotonic();
        Ok(Self { timer, priority, scheduling, window_start, slept: 0, spin: Spin::new(spin) })
    }

    pub(super) fn scheduling(&self) -> Scheduling {
        self.scheduling
    }

    /// Sleeps until shortly before `deadline`, at most until `latest`, or until one of `sources` can be read
    /// (all in ns).
    pub(super) fn sleep(
        &mut self,
        now: u64,
        deadline: Option<u64>,
        latest: u64,
        sources: [BorrowedFd<'_>; 2],
    ) -> Result<(), DelayLineError> {
        let early = deadline.map_or(latest, |deadline| deadline.saturating_sub(self.spin.length));
        let until = early.min(latest);
        if until <= now {
            return Ok(());
        }
        // Zero would disarm it.
        let expiration =
            Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(until.max(1))));
        self.timer
            .set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            .map_err(|errno| DelayLineError::Wait { what: "timer", errno })?;
        let [first, second] = sources.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut fds = [first, second, PollFd::new(self.timer.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(DelayLineError::Poll { errno }),
        }
        let woken = monotonic();
        self.slept += woken.saturating_sub(now);
        // Whoever was woken by a packet learns nothing about timers.
        if let Some(late) = woken.checked_sub(until) {
            self.spin.learn(late);
        }
        Ok(())
    }

    /// Changes the scheduling class when the load of the last window asks for it.
    pub(super) fn judge(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.window_start);
        if elapsed < WINDOW {
            return;
        }
        let asleep = self.slept as f64 / elapsed as f64;
        (self.window_start, self.slept) = (now, 0);
        match self.scheduling {
            Scheduling::Realtime(_)
                if asleep < TOO_BUSY && schedule(libc::SCHED_OTHER, 0).is_ok() =>
            {
                self.scheduling = Scheduling::Busy;
            }
            Scheduling::Busy if asleep > CALM => {
                self.scheduling = match schedule(libc::SCHED_FIFO, self.priority) {
                    Ok(()) => Scheduling::Realtime(self.priority),
                    Err(errno) => Scheduling::Refused(errno),
                };
            }
            _ => {}
        }
    }
}

/// How long before a deadline the worker stops sleeping, in ns.
#[derive(Debug)]
struct Spin {
    length: u64,
    learns: bool,
}

impl Spin {
    /// `None` learns how late the worker wakes at most, most times. On an idle machine, where processors sleep
    /// too, that is long, and spinning costs nobody anything; on a busy one it is the other way round.
    fn new(length: Option<u64>) -> Self {
        Self { length: length.unwrap_or(LONGEST), learns: length.is_none() }
    }

    fn learn(&mut self, late: u64) {
        if !self.learns {
            return;
        }
        self.length = if late > self.length {
            (self.length + STEP_UP).min(LONGEST)
        } else {
            self.length.saturating_sub(STEP_DOWN).max(SHORTEST)
        };
    }
}

/// Sets the scheduling class of the calling thread.
fn schedule(policy: libc::c_int, priority: u8) -> Result<(), Errno> {
    // Threads that this one might start do not inherit the class.
    let policy = policy | libc::SCHED_RESET_ON_FORK;
    let parameters = libc::sched_param { sched_priority: libc::c_int::from(priority) };
    // SAFETY: the parameters live during the call; 0 means the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spin_learns_how_late_it_wakes() {
        let mut spin = Spin::new(None);
        assert_eq!(spin.length, LONGEST);
        // Late by 1 µs to the longest.
        let mut learn = |longest: u64| {
            for round in 0..8_000 {
                spin.learn((round * 7 % longest + 1) * 1_000);
            }
            spin.length
        };
        let busy = learn(40);
        assert!((36_000..46_000).contains(&busy), "{busy}");
        let idle = learn(90);
        assert!((76_000..=LONGEST).contains(&idle), "{idle}");
        let again = learn(40);
        assert!((36_000..46_000).contains(&again), "{again}");
        assert_eq!(learn(1), SHORTEST);
    }

    #[test]
    fn a_spin_that_was_asked_for_stays() {
        let mut spin = Spin::new(Some(0));
        spin.learn(1_000_000);
        assert_eq!(spin.length, 0);
    }
}
