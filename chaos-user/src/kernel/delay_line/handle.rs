//! The running delay line, as its owner sees it.

use std::num::NonZeroU16;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::error::DelayLineError;
use super::evidence::Evidence;
use super::line::{Line, Slot};
use super::pace::{Pace, Scheduling, boottime, monotonic};
use super::setting::Setting;
use super::tap::{Queues, Segmentation, Tap};
use super::worker::{Command, Pulse, Settings, Worker};
use crate::kernel::bpf::Departures;
use crate::kernel::netns::NetNs;

/// The kernel puts the first free number in.
pub(super) const NAME: &str = "chaosd%d";
/// How long the worker may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The share of the queue that is filled. Processors can count at the same time, and send after it.
const ROOM: (u64, u64) = (3, 4);
/// How soon it gives a sign of life after the machine has slept.
const WAKING: Duration = Duration::from_millis(500);

/// How a delay line is set up. [`Config::default`] suits most hosts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its TAP device lives: the namespace of the devices whose packets it holds. `None` is
    /// the namespace of the calling thread.
    pub netns: Option<NetNs>,
    /// How packets are cut when they enter.
    pub segmentation: Segmentation,
    /// How many packets can wait in the kernel to be read; more are dropped and counted as
    /// overruns. Programs that know of `departures` send no more than three quarters of it.
    pub queue_length: u32,
    /// How many bytes of memory held packets may occupy. Further ones are delivered at once, or
    /// dropped where the slot asks for it.
    pub memory: usize,
    /// How long before a deadline the worker stops sleeping and watches the clock. More costs CPU time, less
    /// costs accuracy. `None` is as long as it wakes late, which it learns, and at most 80 µs.
    pub spin: Option<Duration>,
    /// Reproduces random delays.
    pub seed: u64,
    /// SCHED_FIFO priority of the worker, 1 to 99; 0 does not ask for it.
    pub realtime: u8,
    /// What the programs that send packets here write down; with it packets are held from when they
    /// left, and pass when the queue is full. `None` holds them from when they are read.
    pub departures: Option<Departures>,
    /// Several workers, for hosts with many cores and many busy slots; `None` is one.
    pub parallel: Option<Parallel>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            netns: None,
            segmentation: Segmentation::Offloaded,
            queue_length: 16_384,
            memory: 512 << 20,
            spin: None,
            seed: 0,
            realtime: 10,
            departures: None,
            parallel: None,
        }
    }
}

/// Tells whether the worker still runs, without asking it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat(Arc<[Arc<AtomicU64>]>);

impl Heartbeat {
    /// CLOCK_BOOTTIME in ns of the worker's last sign of life (it gives one at least every 25 ms);
    /// of the one that is silent the longest, if there are several. `None` once one has ended.
    /// Renew a lease only to a fixed time after this.
    pub fn last(&self) -> Option<u64> {
        let beats = self.0.iter().map(|pulse| pulse.load(Ordering::Acquire));
        beats.min().filter(|beat| *beat != 0)
    }
}

/// Several workers for one line. Each slot belongs to the queue `slot % queues`.
#[derive(Debug, Clone)]
pub struct Parallel {
    /// How many queues, each with a thread of its own.
    pub queues: NonZeroU16,
    /// A loaded socket filter program that answers `skb->vlan_tci & 0xfff`. It must give all
    /// packets of a slot to one queue, or their order and their rate would be lost.
    pub steering: Arc<OwnedFd>,
}

/// How a line is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How its worker is scheduled.
    pub scheduling: Scheduling,
    /// Packets held now.
    pub held: usize,
    /// Bytes of memory they occupy.
    pub memory: usize,
    /// Frames without a slot that was ever set; they were dropped.
    pub strays: u64,
    /// Frames that were given back together with others, by one system call; the error is why the kernel
    /// does not take several at once (see `docs/delay.md`).
    pub together: Result<u64, Errno>,
    /// Packets the kernel dropped because too many waited to be read. `None` when it does not say.
    pub overruns: Option<u64>,
    /// Indexes of the devices that vanished while packets had to go back to them.
    pub lost: Vec<u32>,
}

/// A running delay line. Dropping it delivers what it holds and removes the TAP device.
#[derive(Debug)]
pub struct DelayLine {
    tap_name: String,
    tap_index: u32,
    lanes: Vec<Lane>,
}

/// Why a worker ended, and what its slots did.
type Outcome = (Result<(), DelayLineError>, Vec<(Slot, Evidence)>);
/// The same, with a queue that must stay open.
type Ended = (Result<(), DelayLineError>, Vec<(Slot, Evidence)>, Option<Tap>);

impl DelayLine {
    /// Makes the TAP device and starts the workers. Needs CAP_NET_ADMIN in the namespace.
    ///
    /// From now on the device exists, but nothing reaches it until the data plane redirects
    /// packets there.
    pub fn start(config: Config) -> Result<Self, DelayLineError> {
        if let Some(departures) = &config.departures {
            let per_packet = config.segmentation == Segmentation::PerPacket;
            departures.limit(u64::from(config.queue_length) * ROOM.0 / ROOM.1, per_packet);
        }
        let count = config.parallel.as_ref().map_or(1, |parallel| parallel.queues.get());
        let queues = if count == 1 { Queues::One } else { Queues::Many };
        let (segmentation, length) = (config.segmentation, config.queue_length);
        let create = move || Tap::create(NAME, segmentation, length, queues);
        let first = Lane::start(&config, (0, count), create)?;
        let (tap_name, tap_index) = (first.tap_name.clone(), first.tap_index);
        let mut lanes = vec![first];
        for number in 1..count {
            let name = tap_name.clone();
            let join = move || Tap::join(&name, tap_index);
            lanes.push(Lane::start(&config, (number, count), join)?);
        }
        let line = Self { tap_name, tap_index, lanes };
        if let Some(Parallel { steering, .. }) = config.parallel {
            line.lanes[0].ask(move |worker| worker.tap.steer(steering.as_fd()))??;
        }
        Ok(line)
    }

    /// The name of the TAP device.
    pub fn tap_name(&self) -> &str {
        &self.tap_name
    }

    /// The interface index of the TAP device: where packets are redirected to.
    pub fn tap_index(&self) -> u32 {
        self.tap_index
    }

    /// For whoever renews the lease.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(self.lanes.iter().map(|lane| Arc::clone(&lane.pulse)).collect())
    }

    /// Starts a slot whose packets go back to the device with index `target`, or changes what it
    /// does to packets that arrive from now on. Call it before packets are tagged with this slot.
    pub fn set(&self, slot: Slot, target: u32, setting: Setting) -> Result<(), DelayLineError> {
        self.lane(slot).ask(move |worker| worker.set(slot, target, setting))?
    }

    /// Ends a slot: what it holds, and what still arrives, is delivered at once. Call it when no
    /// more packets are tagged with this slot. Answers what the slot did, if it was ever set.
    pub fn retire(&self, slot: Slot) -> Result<Option<Evidence>, DelayLineError> {
        self.lane(slot).ask(move |worker| worker.retire(slot))
    }

    /// What a slot did until now; `None` if it was never set.
    pub fn evidence(&self, slot: Slot) -> Result<Option<Evidence>, DelayLineError> {
        self.lane(slot).ask(move |worker| worker.line.evidence(slot).cloned())
    }

    /// How the line is doing.
    pub fn status(&self) -> Result<Status, DelayLineError> {
        let mut all: Option<Status> = None;
        for lane in &self.lanes {
            let one = lane.ask(|worker| worker.status())?;
            match &mut all {
                None => all = Some(one),
                Some(all) => all.add(one),
            }
        }
        all.ok_or(DelayLineError::Ended)
    }

    /// Delivers what is held, removes the TAP device, and answers what each slot did. The error is
    /// why the line had ended before, if it had.
    pub fn stop(mut self) -> (Result<(), DelayLineError>, Vec<(Slot, Evidence)>) {
        let (mut result, mut evidence) = (Ok(()), Vec::new());
        // They go one after the other: the device stays until the last has delivered.
        for lane in &mut self.lanes {
            let (one, slots) = lane.end();
            result = result.and(one);
            evidence.extend(slots);
        }
        evidence.sort_by_key(|(slot, _)| *slot);
        (result, evidence)
    }

    /// The worker that the steering program gives this slot's packets to.
    fn lane(&self, slot: Slot) -> &Lane {
        &self.lanes[usize::from(slot.get()) % self.lanes.len()]
    }
}

impl Status {
    fn add(&mut self, other: Self) {
        if let Scheduling::Realtime(_) = self.scheduling {
            self.scheduling = other.scheduling;
        }
        self.held += other.held;
        self.memory += other.memory;
        self.strays += other.strays;
        self.together = self.together.and_then(|one| Ok(one + other.together?));
        for index in other.lost {
            if !self.lost.contains(&index) {
                self.lost.push(index);
            }
        }
    }
}

/// One worker and its queue.
#[derive(Debug)]
struct Lane {
    tap_name: String,
    tap_index: u32,
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    pulse: Arc<AtomicU64>,
    thread: Option<JoinHandle<Ended>>,
}

impl Lane {
    fn start(
        config: &Config,
        (number, lanes): (u16, u16),
        tap: impl FnOnce() -> Result<Tap, DelayLineError> + Send + 'static,
    ) -> Result<Self, DelayLineError> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| DelayLineError::Wait { what: "event", errno })?;
        let wake = Arc::new(wake);
        let (commands, orders) = mpsc::channel();
        let (started, start) = mpsc::sync_channel(1);
        let pulse = Arc::new(AtomicU64::new(0));
        let (waker, beater) = (Arc::clone(&wake), Pulse(Arc::clone(&pulse)));
        let (netns, seed, realtime) = (config.netns.clone(), config.seed, config.realtime);
        let spin = config.spin.map(|spin| spin.as_nanos() as u64);
        let memory = config.memory / usize::from(lanes);
        let settings = Settings {
            alone: lanes == 1,
            departures: config.departures.as_ref().map(|all| all.of(number)),
        };
        let thread = thread::Builder::new().name("chaos-delay".into()).spawn(move || {
            let made = (|| {
                if let Some(netns) = netns {
                    netns.enter()?;
                }
                let line = Line::new(monotonic(), seed, memory);
                let (tap, pace) = (tap()?, Pace::new(realtime, spin)?);
                Worker::new(tap, line, pace, settings, orders, waker, beater)
            })();
            match made {
                Ok(mut worker) => {
                    worker.beat();
                    let names = (worker.tap.name().to_owned(), worker.tap.index());
                    // Nobody listens only if the owner is gone, whose commands then are, too.
                    let _ = started.send(Ok(names));
                    let result = worker.run();
                    let evidence = worker.evidence();
                    // Were its queue to close now, the kernel would give the numbers of the others anew,
                    // and packets to those who do not know their slots.
                    let queue = (result.is_err() && lanes > 1).then_some(worker.tap);
                    (result, evidence, queue)
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                    (Ok(()), Vec::new(), None)
                }
            }
        });
        let thread = thread.map_err(DelayLineError::Thread)?;
        let (tap_name, tap_index) = start.recv().map_err(|_| DelayLineError::WorkerGone)??;
        Ok(Self { tap_name, tap_index, commands, wake, pulse, thread: Some(thread) })
    }

    /// Waits for the worker to deliver what it holds. One that gives no sign of life any more is left
    /// behind: its device goes with this process.
    fn end(&mut self) -> Outcome {
        let Some(thread) = self.thread.take() else {
            return (Err(DelayLineError::Ended), Vec::new());
        };
        // An error says that the worker has ended already.
        let _ = self.send(Box::new(|worker| worker.stopping = true));
        let asked = Instant::now();
        while !thread.is_finished() {
            let beat = self.pulse.load(Ordering::Acquire);
            let silent = boottime().saturating_sub(beat) > PATIENCE.as_nanos() as u64;
            if beat != 0 && silent && asked.elapsed() > WAKING {
                return (Err(DelayLineError::Stalled(PATIENCE)), Vec::new());
            }
            thread::sleep(Duration::from_millis(1));
        }
        match thread.join() {
            Ok((result, evidence, _)) => (result, evidence),
            Err(_) => (Err(DelayLineError::WorkerGone), Vec::new()),
        }
    }

    fn send(&self, command: Command) -> Result<(), DelayLineError> {
        self.commands.send(command).map_err(|_| DelayLineError::Ended)?;
        self.wake.write(1).map_err(|errno| DelayLineError::Wait { what: "event", errno })?;
        Ok(())
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, DelayLineError> {
        let (reply, answer) = mpsc::sync_channel(1);
        // Whoever asked may have lost patience.
        self.send(Box::new(move |worker| drop(reply.send(work(worker)))))?;
        answer.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => DelayLineError::Stalled(PATIENCE),
            RecvTimeoutError::Disconnected => DelayLineError::Ended,
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Whoever wants to know why a line ended calls `stop`.
            drop(self.end());
        }
    }
}
