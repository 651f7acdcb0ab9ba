//! Where a subject is tortured: a namespace, a folder, and a look at whether traffic flows.

use std::cell::Cell;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::plan::{Blow, Life, Point, When};
use crate::slowness;
use crate::squeezed::Squeezed;
use crate::state::{State, processes};
use crate::strike::{Victims, strike};
use crate::subject::{Around, Subject};
use crate::table::Outcome;
use crate::terminal::Terminal;

/// The device that is deleted under a fault.
const DEVICE: (&str, u32) = ("victim", 7);
/// How long a run may take to end, or its guardian to heal, before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long faults last that end by themselves, and those that are to be ended by their run's death.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(3);

/// The kernel frees what nothing refers to any more later: what was in a namespace goes with it, and
/// all namespaces of the machine go one after the other.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);

/// A rule is inert by then whoever died, by the kernel's clock.
const INERT_WITHIN: Duration = Duration::from_secs(2);

pub(crate) struct Bench {
    subject: Subject,
    /// A small file system for the journals, so that it can be filled and frozen.
    state: Mounted,
    /// One that a fault may fill.
    disk: Mounted,
    folder: TempDir,
    engine: Engine,
    squeezed: Option<Squeezed>,
    terminal: Option<Terminal>,
    netns: NetNs,
    sender: UdpSocket,
    receiver: UdpSocket,
    sent: Cell<u64>,
    life: Life,
}

impl Bench {
    pub(crate) fn new(subject: Subject) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = Mounted::new(folder.path().join("state"));
        let disk = Mounted::new(folder.path().join("disk"));
        let engine = Engine::listen(&folder.path().join("docker.sock"));
        let squeezed = (subject == Subject::Pressure).then(Squeezed::new);
        Subject::write_experiments(folder.path(), squeezed.as_ref());
        let (netns, sender, receiver) = namespace();
        let life = Life { lasts: Duration::ZERO, records: 0 };
        let mut bench = Self {
            subject,
            state,
            disk,
            folder,
            engine,
            squeezed,
            terminal: None,
            netns,
            sender,
            receiver,
            sent: Cell::new(0),
            life,
        };
        bench.life = bench.live_once();
        bench
    }

    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state.0
    }

    pub(crate) fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// An undisturbed run, to know how long it lives and how many records it writes.
    fn live_once(&mut self) -> Life {
        let began = Instant::now();
        let mut child = self.start(SHORT, false);
        let mut records = 0;
        while child.try_wait().unwrap().is_none() {
            records = records.max(self.records());
            assert!(began.elapsed() < PATIENCE * 4 * slowness(), "it does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        let lasts = began.elapsed();
        // PASS, or INCONCLUSIVE because it met no traffic.
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 2)), "undisturbed, it ended with {code:?}");
        println!("{}: lives {lasts:?}, {records} records", self.subject.name());
        assert!(records > 0, "no journal was seen");
        Life { lasts, records }
    }

    fn start(&mut self, lasts: Duration, on_terminal: bool) -> Child {
        let port = self.receiver.local_addr().unwrap().port();
        let (netns, folder) = (&self.netns, self.folder.path());
        let mut command = self.subject.command(Around { netns, port, folder, lasts });
        self.in_place(&mut command);
        if on_terminal {
            self.terminal = Some(Terminal::under(&mut command));
        } else {
            // A group of its own, as a shell gives to what it starts.
            command.process_group(0);
        }
        command.spawn().unwrap()
    }

    pub(crate) fn close_terminal(&mut self) {
        self.terminal = None;
    }

    fn look(&self) -> State {
        let container = format!("the container is {}", self.engine.container());
        let state = State::take(&self.netns, self.state(), &self.disk.0).and(container);
        match &self.squeezed {
            Some(squeezed) => state.and(format!("the cgroup may use {}", squeezed.cpus())),
            None => state,
        }
    }

    fn in_place(&self, command: &mut Command) {
        command
            .env("CHAOS_STATE_DIR", self.state())
            .env_remove("SSH_CONNECTION")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    }

    /// Lines in the journal of the run.
    fn records(&self) -> usize {
        let runs = std::fs::read_dir(self.state().join("runs")).into_iter().flatten().flatten();
        runs.filter_map(|run| std::fs::read(run.path().join("journal.jsonl")).ok())
            .map(|bytes| bytes.split(|&byte| byte == b'\n').count() - 1)
            .max()
            .unwrap_or(0)
    }

    /// Whether a datagram arrives at once. Loopback delivers before send returns; what comes later
    /// was held.
    pub(crate) fn flows(&self) -> bool {
        let mut buffer = [0; 8];
        while self.receiver.recv(&mut buffer).is_ok() {}
        let number = self.sent.replace(self.sent.get() + 1).to_ne_bytes();
        if self.sender.send(&number).is_err() {
            return false;
        }
        while self.receiver.recv(&mut buffer).is_ok() {
            if buffer == number {
                return true;
            }
        }
        false
    }

    /// Starts a run, strikes it, and says how the machine became as it was; why not is an error.
    pub(crate) fn torture(&mut self, point: &Point) -> Result<Outcome, String> {
        let before = self.look();
        // Long enough for a death to end it and not its time, where there is one.
        let lasts = if point.blow.spares_the_run() { SHORT } else { LONG };
        let mut child = self.start(lasts, point.blow == Blow::CloseTerminal);
        self.await_moment(&mut child, point.when);
        let in_force = self.subject.is_felt() && !self.flows();
        let victims = Victims::find(&child, self.state());
        let struck = Instant::now();
        let undo = strike(self, point.blow, &victims);
        // A fault that nobody took back early lasts its time; some would last for ever.
        let abandoned = point.blow.leaves_nobody();
        let lasts_on = abandoned && !self.subject.ends_in_the_kernel();
        let flows = (in_force && point.blow != Blow::DeleteNamespace && !lasts_on)
            .then(|| self.until("traffic flows", || self.flows()).map(|()| struck.elapsed()))
            .transpose()?;
        // Where no kernel does it, a process has to, which is slow where everything is.
        let slowly = if self.subject.ends_in_the_kernel() { 1 } else { slowness() };
        if let Some(flows) = flows.filter(|&flows| flows > INERT_WITHIN * slowly) {
            return Err(format!("traffic flowed only after {flows:?}"));
        }
        self.until("every process has ended", || {
            let _ = child.try_wait();
            processes(self.state()).is_empty()
        })?;
        let _ = child.wait();
        self.close_terminal();
        undo(self);
        let mut by_hand = false;
        let heal = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
            command.args(["heal", "--leave-live"]);
            self.in_place(&mut command);
            command.status().unwrap()
        };
        let clean = |bench: &Self| before.difference(&bench.look());
        // A process that is just becoming another program has no environment to be known by, so
        // "every process has ended" may come early, too.
        let settled = |bench: &Self| {
            let began = Instant::now();
            loop {
                let left = clean(bench);
                if left.is_empty() || began.elapsed() > SETTLES_WITHIN * slowness().min(3) {
                    return left;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let mut left = if abandoned { clean(self) } else { settled(self) };
        if !left.is_empty() && (abandoned || Self::writes_failed(point.blow)) {
            by_hand = true;
            let status = heal();
            left = settled(self);
            if !status.success() {
                left.push(format!("`chaos heal` ended with {status}"));
            }
        }
        let outcome = Outcome { flows, clean: struck.elapsed(), by_hand };
        if left.is_empty() {
            return Ok(outcome);
        }
        let told = std::fs::read_to_string(self.state().join("guardian.log")).unwrap_or_default();
        left.push(format!("guardians said: {told}"));
        // The next point has to begin with nothing left.
        heal();
        Err(left.join("; "))
    }

    /// A full disk may keep a run from noting what it did, never from undoing it; its guardian had
    /// nothing to do, and the journal is left.
    fn writes_failed(blow: Blow) -> bool {
        blow == Blow::FillDisk
    }

    fn await_moment(&self, child: &mut Child, when: When) {
        let began = Instant::now();
        let pause = match when {
            When::Time(after) => after,
            When::InForce(after) => {
                while self.flows() && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_micros(500));
                }
                after
            }
            When::Record(count, after) => {
                while self.records() < count && child.try_wait().unwrap().is_none() {
                    if began.elapsed() > PATIENCE * slowness() {
                        break;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                after
            }
        };
        std::thread::sleep(pause);
    }

    /// A step of a run, such as loading its programs, is not broken off; so it may take as long as
    /// a whole one did, and longer where the machine is busier by now.
    fn patience(&self) -> Duration {
        PATIENCE * slowness() + self.life.lasts * 3
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > self.patience() {
                return Err(format!("{what}: not within {:?}", self.patience()));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Makes the device that may have been deleted.
    pub(crate) fn make_device(&self) {
        add_device(&self.netns);
    }

    /// Lets go of the namespace and makes another one.
    pub(crate) fn renew(&mut self) {
        (self.netns, self.sender, self.receiver) = namespace();
    }
}

fn namespace() -> (NetNs, UdpSocket, UdpSocket) {
    let netns = NetNs::anonymous().unwrap();
    netns
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            let lo = netlink.link("lo").await.unwrap();
            netlink.set_up(&lo).await.unwrap();
        })
        .unwrap();
    add_device(&netns);
    let (sender, receiver) = netns
        .run(|| {
            let receiver = UdpSocket::bind("127.0.0.1:7000").unwrap();
            receiver.set_nonblocking(true).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.connect(receiver.local_addr().unwrap()).unwrap();
            (sender, receiver)
        })
        .unwrap();
    (netns, sender, receiver)
}

fn add_device(netns: &NetNs) {
    netns
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            netlink.add_veth(DEVICE, ("peer", 8), netns).await.unwrap();
            for name in [DEVICE.0, "peer"] {
                let link = netlink.link(name).await.unwrap();
                netlink.set_up(&link).await.unwrap();
            }
        })
        .unwrap();
}

pub(crate) fn delete_device(netns: &NetNs) {
    netns
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            let link = netlink.link(DEVICE.0).await.unwrap();
            netlink.delete_link(&link).await.unwrap();
        })
        .unwrap();
}

/// A mounted tmpfs.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        let options = Some("size=2m,mode=700");
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), options).unwrap();
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
