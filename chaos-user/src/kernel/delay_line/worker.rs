//! The thread that does the work: reads packets, holds them, hands them back in time.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use chaos_common::detour::NO_NUMBER;
use nix::errno::Errno;
use nix::sys::eventfd::EventFd;

use super::emulator::Arrival;
use super::error::DelayLineError;
use super::evidence::Evidence;
use super::frame::{Frame, Pool};
use super::handle::Status;
use super::line::{Due, Line, Offer, Slot};
use super::outbox::{self, Outbox};
use super::pace::{Pace, boottime, monotonic};
use super::packet::{NUMBER, number_of, summarise};
use super::setting::Setting;
use super::tap::{DeviceWatch, Tap};
use crate::kernel::bpf::QueueDepartures;

/// Frames read, or released, before the other side gets its turn.
const BATCH: usize = 64;
/// The longest sleep, so that the heartbeat goes on while nothing arrives.
const IDLE: u64 = 25_000_000;
/// How often the heartbeat is written at most.
const BEAT: u64 = 1_000_000;
/// How often it is checked that the devices still exist.
const WATCH: u64 = 100_000_000;
/// This close to a deadline nothing else is begun.
const POISED: u64 = 3_000;
/// A frame that has waited longer to be read is not alone, most likely.
const BACKLOG: u64 = 1_000_000;
/// So many frames one after the other, and the worker is behind: some 0.3 ms without a pause.
const BEHIND: usize = 64;
/// No frame waits longer to be read. Clocks of different time namespaces are further apart.
const TRUSTED: u64 = 10_000_000_000;
/// How many frames are still taken from the TAP when the line ends. No more can be queued.
const LAST_FRAMES: usize = 1 << 20;

/// Something for the worker to do between two packets.
pub(super) type Command = Box<dyn FnOnce(&mut Worker) + Send>;

/// Says that the worker runs; see [`super::Heartbeat`].
#[derive(Debug)]
pub(super) struct Pulse(pub(super) Arc<AtomicU64>);

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// How a worker works.
#[derive(Debug)]
pub(super) struct Settings {
    /// No other worker shares the device.
    pub(super) alone: bool,
    /// When packets of its queue left, if whoever sends them says it.
    pub(super) departures: Option<QueueDepartures>,
}

/// The state of the worker thread.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) tap: Tap,
    pub(super) line: Line<Frame>,
    pub(super) pace: Pace,
    pub(super) stopping: bool,
    pub(super) lost: Vec<u32>,
    pub(super) commands: Receiver<Command>,
    pub(super) wake: Arc<EventFd>,
    pub(super) pulse: Pulse,
    pub(super) settings: Settings,
    pool: Pool,
    outbox: Outbox,
    /// Frames read since there was none to read.
    streak: usize,
    watch: DeviceWatch,
    targets: BTreeMap<Slot, u32>,
    next_beat: u64,
    next_watch: u64,
}

impl Worker {
    pub(super) fn new(
        tap: Tap,
        line: Line<Frame>,
        pace: Pace,
        settings: Settings,
        commands: Receiver<Command>,
        wake: Arc<EventFd>,
        pulse: Pulse,
    ) -> Result<Self, DelayLineError> {
        let outbox = Outbox::new(&tap);
        Ok(Self {
            tap,
            line,
            pace,
            stopping: false,
            lost: Vec::new(),
            commands,
            wake,
            pulse,
            settings,
            pool: Pool::default(),
            outbox,
            streak: 0,
            watch: DeviceWatch::new()?,
            targets: BTreeMap::new(),
            next_beat: 0,
            next_watch: 0,
        })
    }

    /// Works until it is told to stop or cannot go on.
    pub(super) fn run(&mut self) -> Result<(), DelayLineError> {
        while !self.stopping {
            while let Ok(command) = self.commands.try_recv() {
                command(self);
            }
            let read = self.read()?;
            let now = self.release();
            self.keep_house(now)?;
            if read == 0 {
                self.wait(now)?;
            }
        }
        self.drain()
    }

    /// Starts or changes a slot whose packets go back to the device `target`.
    pub(super) fn set(
        &mut self,
        slot: Slot,
        target: u32,
        setting: Setting,
    ) -> Result<(), DelayLineError> {
        if !self.watch.exists(target) {
            return Err(DelayLineError::NoTarget { slot, ifindex: target });
        }
        self.line.set(slot, setting).map_err(|source| DelayLineError::Setting { slot, source })?;
        self.targets.insert(slot, target);
        Ok(())
    }

    /// Ends a slot and delivers what it holds.
    pub(super) fn retire(&mut self, slot: Slot) -> Option<Evidence> {
        self.targets.remove(&slot);
        for due in self.line.retire(slot, monotonic()) {
            self.depart(due.slot, due.arrived, due.frame);
        }
        self.flush();
        self.line.evidence(slot).cloned()
    }

    /// How this worker is doing.
    pub(super) fn status(&self) -> Status {
        Status {
            scheduling: self.pace.scheduling(),
            held: self.line.len(),
            memory: self.line.memory(),
            strays: self.line.strays(),
            together: self.outbox.together(),
            overruns: self.tap.overruns(),
            lost: self.lost.clone(),
        }
    }

    /// The evidence of every slot that was ever set.
    pub(super) fn evidence(&self) -> Vec<(Slot, Evidence)> {
        let slots = (1..=Slot::MAX.get()).filter_map(Slot::new);
        slots.filter_map(|slot| Some((slot, self.line.evidence(slot)?.clone()))).collect()
    }

    /// Takes in a batch of frames; stops early when a deadline has come. But what has waited to be read
    /// for long is read together: a later one of it can have an earlier deadline. So is what waits while
    /// the worker is behind, as far as it can leave together.
    fn read(&mut self) -> Result<usize, DelayLineError> {
        for count in 0..BATCH {
            let Some(frame) = self.next_frame()? else {
                self.streak = 0;
                return Ok(count);
            };
            self.streak += 1;
            let now = monotonic();
            let arrived = self.accept(frame, now);
            let backlog = now - arrived > BACKLOG;
            if !backlog
                && !self.gathers(count + 1)
                && self.line.next_deadline().is_some_and(|deadline| deadline <= now)
            {
                return Ok(count + 1);
            }
        }
        Ok(BATCH)
    }

    /// The next frame that waits in the TAP.
    fn next_frame(&mut self) -> Result<Option<Frame>, DelayLineError> {
        let departures = self.settings.departures.as_ref();
        let sent = departures.map(QueueDepartures::sent);
        let tap = &self.tap;
        let frame = self.pool.read(|buffer| tap.read(buffer));
        let frame = frame.map_err(|errno| self.read_error(errno))?;
        match (departures, sent) {
            (Some(departures), _) if frame.is_some() => departures.take(),
            (Some(departures), Some(sent)) => departures.take_all(sent),
            _ => {}
        }
        Ok(frame)
    }

    /// When a frame left, if that is known. One that leaves no trace but its number can find that of
    /// another packet there, which had the number after it.
    fn departed(&self, number: Option<u16>, now: u64) -> Option<u64> {
        let at = self.settings.departures.as_ref()?.time(number?)?;
        (at <= now && now - at < TRUSTED).then_some(at)
    }

    /// Takes in a frame that was read now; when it arrived.
    fn accept(&mut self, frame: Frame, now: u64) -> u64 {
        let summary = summarise(frame.head(), frame.len());
        let Some(slot) = summary.slot else {
            self.line.stray();
            self.pool.recycle(frame);
            return now;
        };
        let at = self.departed(summary.number, now).unwrap_or(now);
        let arrival =
            Arrival { at, bytes: summary.bytes, packets: summary.packets, flow: summary.flow };
        let footprint = frame.footprint();
        match self.line.offer(slot, &arrival, footprint, frame) {
            Offer::Held => {}
            Offer::Deliver(frame) => self.deliver(slot, at, frame),
            Offer::Drop(frame) | Offer::Stray(frame) => self.pool.recycle(frame),
        }
        at
    }

    /// Whether more should be read after `count` frames although some are due: one by one, the frames
    /// would come to leave one by one for ever.
    fn gathers(&self, count: usize) -> bool {
        self.outbox.batches() && self.streak >= BEHIND && count < outbox::WIDTH
    }

    /// Hands back a batch of frames whose time has come; returns the time.
    fn release(&mut self) -> u64 {
        let mut now = monotonic();
        for _ in 0..BATCH {
            if let Some(Due { frame, slot, arrived, .. }) = self.line.due(now) {
                if self.depart(slot, arrived, frame) {
                    now = monotonic();
                }
                continue;
            }
            if !self.outbox.is_empty() {
                self.flush();
                now = monotonic();
                continue;
            }
            match self.line.next_deadline() {
                Some(deadline) if deadline <= now + POISED => {
                    while now < deadline {
                        std::hint::spin_loop();
                        now = monotonic();
                    }
                }
                _ => break,
            }
        }
        if !self.outbox.is_empty() {
            self.flush();
            now = monotonic();
        }
        now
    }

    /// Hands back one frame at once.
    fn deliver(&mut self, slot: Slot, arrived: u64, frame: Frame) {
        self.depart(slot, arrived, frame);
        self.flush();
    }

    /// Puts a frame with those that leave next; whether they have left with it, for lack of room.
    fn depart(&mut self, slot: Slot, arrived: u64, mut frame: Frame) -> bool {
        // The kernel must not measure by the time of another packet.
        if let (Some(departures), Some(number)) =
            (&self.settings.departures, number_of(frame.head()))
            && departures.time(number) != Some(arrived)
        {
            frame.head_mut()[NUMBER].copy_from_slice(&NO_NUMBER.to_be_bytes());
        }
        self.outbox.push(slot, frame);
        let full = self.outbox.is_full();
        if full {
            self.flush();
        }
        full
    }

    /// Hands back what is about to leave.
    fn flush(&mut self) {
        let line = &mut self.line;
        self.outbox.flush(&self.tap, &mut self.pool, |slot| line.refused(slot));
    }

    fn keep_house(&mut self, now: u64) -> Result<(), DelayLineError> {
        if now >= self.next_beat {
            self.beat();
            self.next_beat = now + BEAT;
            self.pace.judge(now);
        }
        if now >= self.next_watch {
            self.next_watch = now + WATCH;
            self.find_lost()?;
        }
        Ok(())
    }

    /// Gives a sign of life.
    pub(super) fn beat(&self) {
        self.pulse.0.store(boottime(), Ordering::Release);
    }

    /// Retires the slots whose device is gone; the only worker ends when that was the last device.
    fn find_lost(&mut self) -> Result<(), DelayLineError> {
        let Some((_, &ifindex)) = self.targets.iter().find(|one| !self.watch.exists(*one.1)) else {
            return Ok(());
        };
        self.lost.push(ifindex);
        let slots: Vec<Slot> =
            self.targets.extract_if(.., |_, target| *target == ifindex).map(|one| one.0).collect();
        for slot in slots {
            for due in self.line.retire(slot, monotonic()) {
                self.line.refused(due.slot);
                self.pool.recycle(due.frame);
            }
        }
        if self.targets.is_empty() && self.settings.alone {
            return Err(DelayLineError::TargetGone { ifindex });
        }
        self.find_lost()
    }

    fn wait(&mut self, now: u64) -> Result<(), DelayLineError> {
        let sources = [self.tap.as_fd(), self.wake.as_fd()];
        self.pace.sleep(now, self.line.next_deadline(), now + IDLE, sources)?;
        // It does not block, and only says that there are commands, which are looked for anyway.
        let _ = self.wake.read();
        Ok(())
    }

    /// Delivers at once whatever is held or still queued in the TAP.
    fn drain(&mut self) -> Result<(), DelayLineError> {
        let now = monotonic();
        for number in 0..LAST_FRAMES {
            if number % BATCH == 0 {
                self.beat();
            }
            let Some(frame) = self.next_frame()? else { break };
            self.accept(frame, now);
        }
        let mut left = 0;
        while let Some(Due { frame, slot, arrived, .. }) = self.line.due_any(monotonic()) {
            if left % BATCH == 0 {
                self.beat();
            }
            left += 1;
            self.depart(slot, arrived, frame);
        }
        self.flush();
        Ok(())
    }

    fn read_error(&self, errno: Errno) -> DelayLineError {
        let name = self.tap.name().to_owned();
        match errno {
            // The device was deleted while its file stays open.
            Errno::EBADFD | Errno::EIO => DelayLineError::TapGone { name },
            errno => DelayLineError::Read { name, errno },
        }
    }
}
