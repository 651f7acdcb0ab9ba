//! Two anonymous namespaces joined by a veth pair, a delay line in the first, and programs that
//! send chosen packets through it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, SocketFilter, TcAttachType, tc};
use aya::{Ebpf, EbpfLoader};
use chaos::kernel::delay_line::{Config, DelayLine, Heartbeat, Setting, Slot};
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};

static PROGRAMS: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/delay_line_test.o"));

/// How long the programs divert packets after the line's last sign of life.
pub(crate) const LEASE: Duration = Duration::from_millis(500);
/// Instead of a port: every packet.
pub(crate) const ANY: u32 = 1 << 16;

pub(crate) const NEAR: &str = "va";
pub(crate) const FAR: &str = "vb";

/// Which addresses to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn near(self) -> IpAddr {
        match self {
            Self::V4 => "10.99.0.1",
            Self::V6 => "fd99::1",
        }
        .parse()
        .unwrap()
    }

    pub(crate) fn far(self) -> IpAddr {
        match self {
            Self::V4 => "10.99.0.2",
            Self::V6 => "fd99::2",
        }
        .parse()
        .unwrap()
    }

    pub(crate) fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => "127.0.0.1",
            Self::V6 => "::1",
        }
        .parse()
        .unwrap()
    }
}

/// Where packets are caught, and where they go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Egress,
    Ingress,
}

/// How many times slower than a processor this machine is.
pub(crate) fn slowness() -> u32 {
    std::env::var("CHAOS_TEST_SLOWNESS").map_or(1, |times| times.parse().unwrap())
}

/// The whole arrangement. Dropping it removes everything.
pub(crate) struct Bed {
    pub(crate) near: NetNs,
    pub(crate) far: NetNs,
    pub(crate) line: Option<DelayLine>,
    ebpf: Ebpf,
    places: u32,
    keeper: Option<LeaseKeeper>,
}

impl Bed {
    pub(crate) fn new(config: &Config) -> Self {
        let (near, far) = joined();
        let config = Config { netns: Some(near.clone()), ..config.clone() };
        let line = DelayLine::start(config).unwrap();
        assert!(!PROGRAMS.is_empty(), "build the eBPF object, which has the test programs with it");
        let mut ebpf = EbpfLoader::new().load(PROGRAMS).unwrap();
        for program in ["divert", "give_back"] {
            let program: &mut SchedClassifier =
                ebpf.program_mut(program).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let mut bed = Self { near, far, line: Some(line), ebpf, places: 0, keeper: None };
        let tap = bed.line().tap_name().to_owned();
        bed.attach("give_back", &tap, TcAttachType::Ingress);
        let index = bed.line().tap_index();
        bed.config().set(0, index, 0).unwrap();
        let lease = bed.ebpf.take_map("LEASE").unwrap();
        let heartbeat = bed.line().heartbeat();
        bed.keeper = Some(LeaseKeeper::start(lease.try_into().unwrap(), heartbeat));
        bed
    }

    pub(crate) fn line(&self) -> &DelayLine {
        self.line.as_ref().unwrap()
    }

    /// Starts to catch packets of a device of the near namespace.
    pub(crate) fn catch(&mut self, device: &str, direction: Direction) {
        let hook = match direction {
            Direction::Egress => TcAttachType::Egress,
            Direction::Ingress => TcAttachType::Ingress,
        };
        self.attach("divert", device, hook);
    }

    /// Sends packets of a port through a slot, and back to the same device and direction.
    pub(crate) fn divert(
        &mut self,
        port: u32,
        slot: Slot,
        device: &str,
        direction: Direction,
        setting: Setting,
    ) {
        let index = self.index(device);
        self.line().set(slot, index, setting).unwrap();
        let back = match direction {
            Direction::Egress => index,
            Direction::Ingress => index | 1 << 31,
        };
        let mut targets: Array<_, u32> = self.ebpf.map_mut("TARGETS").unwrap().try_into().unwrap();
        targets.set(u32::from(slot.get()), back, 0).unwrap();
        self.places += 1;
        let place = self.places;
        self.config().set(place, port, 0).unwrap();
        self.config().set(place + 4, u32::from(slot.get()), 0).unwrap();
    }

    /// Sends no more packets through the line.
    pub(crate) fn undivert(&mut self) {
        self.config().set(0, 0, 0).unwrap();
    }

    pub(crate) fn index(&self, device: &str) -> u32 {
        let index = self.near.run(|| nix::net::if_::if_nametoindex(device)).unwrap();
        index.unwrap()
    }

    pub(crate) fn delete_near_device(&self, name: &str) {
        let deleted = self.near.block_on(|| async {
            let netlink = Netlink::open()?;
            let link = netlink.link(name).await?;
            netlink.delete_link(&link).await
        });
        deleted.unwrap().unwrap();
    }

    fn config(&mut self) -> Array<&mut MapData, u32> {
        self.ebpf.map_mut("CONFIG").unwrap().try_into().unwrap()
    }

    fn attach(&mut self, program: &str, device: &str, hook: TcAttachType) {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(program).unwrap().try_into().unwrap();
        let attached = self.near.run(|| {
            // Needed before TCX; harmless after.
            let _ = tc::qdisc_add_clsact(device);
            program.attach(device, hook)
        });
        attached.unwrap().unwrap();
    }
}

/// The program that gives each slot's packets to one queue.
pub(crate) fn steering() -> Arc<OwnedFd> {
    let mut ebpf = EbpfLoader::new().load(PROGRAMS).unwrap();
    let program: &mut SocketFilter = ebpf.program_mut("steer").unwrap().try_into().unwrap();
    program.load().unwrap();
    Arc::new(program.fd().unwrap().as_fd().try_clone_to_owned().unwrap())
}

/// Writes the lease while the line lives, as the controller does.
struct LeaseKeeper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LeaseKeeper {
    fn start(mut lease: Array<MapData, u64>, heartbeat: Heartbeat) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut renew = move || {
            let until = heartbeat.last().map_or(0, |beat| beat + LEASE.as_nanos() as u64);
            lease.set(0, until, 0).unwrap();
        };
        renew();
        let thread = thread::spawn(move || {
            be_prompt();
            while !stopped.load(Ordering::Relaxed) {
                renew();
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Two namespaces with a veth pair between them, and loopback devices that are up.
fn joined() -> (NetNs, NetNs) {
    let (near, far) = (NetNs::anonymous().unwrap(), NetNs::anonymous().unwrap());
    let pair = near.block_on(|| async {
        let netlink = Netlink::open()?;
        netlink.add_veth((NEAR, 10), (FAR, 11), &far).await
    });
    pair.unwrap().unwrap();
    for (netns, device, addresses) in [
        (&near, NEAR, [Family::V4.near(), Family::V6.near()]),
        (&far, FAR, [Family::V4.far(), Family::V6.far()]),
    ] {
        let up = netns.block_on(|| async {
            let path = format!("/proc/sys/net/ipv6/conf/{device}/accept_dad");
            fs::write(path, "0").unwrap();
            let netlink = Netlink::open()?;
            let link = netlink.link(device).await?;
            for address in addresses {
                let prefix = if address.is_ipv4() { 24 } else { 64 };
                netlink.add_address(&link, IpNet::new(address, prefix).unwrap()).await?;
            }
            netlink.set_up(&link).await?;
            netlink.set_up(&netlink.link("lo").await?).await
        });
        up.unwrap().unwrap();
    }
    (near, far)
}

/// Puts the calling thread before all ordinary ones, where that is allowed: what is timed is the
/// line, which does the same, and not how long its clients wait for a processor of a busy machine.
#[expect(unsafe_code, reason = "sched_setscheduler(2) has no safe wrapper")]
fn be_prompt() {
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters live during the call; 0 means the calling thread.
    if unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } != 0 {
        println!("no real-time scheduling: {}", io::Error::last_os_error());
    }
}

/// Answers every datagram with itself until it is dropped.
pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn start(netns: &NetNs, at: SocketAddr) -> Self {
        let socket = netns.run(|| UdpSocket::bind(at).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            be_prompt();
            let mut buffer = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Round trips of single datagrams, sorted. An error is a datagram without an answer.
pub(crate) fn round_trips(
    from: &NetNs,
    to: SocketAddr,
    count: usize,
    patience: Duration,
) -> io::Result<Vec<Duration>> {
    from.run(|| {
        be_prompt();
        let any: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(patience))?;
        let mut times = Vec::new();
        for number in 0..count {
            let sent = monotonic();
            socket.send(&number.to_le_bytes())?;
            let mut answer = [0; 8];
            socket.recv(&mut answer)?;
            assert_eq!(answer, number.to_le_bytes());
            times.push(Duration::from_nanos(monotonic() - sent));
        }
        times.sort_unstable();
        Ok(times)
    })
    .unwrap()
}

pub(crate) fn monotonic() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos() as u64
}

pub(crate) fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

pub(crate) fn latency(millis: f64) -> Setting {
    Setting { latency: Duration::from_secs_f64(millis / 1000.0), ..Setting::default() }
}

/// A counter of `/proc/net/snmp`, such as `Tcp` `InCsumErrors`.
pub(crate) fn snmp(netns: &NetNs, protocol: &str, counter: &str) -> u64 {
    let text = netns.run(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let prefix = format!("{protocol}:");
    let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.split_whitespace().position(|name| name == counter).unwrap();
    values.split_whitespace().nth(place).unwrap().parse().unwrap()
}

/// Changes the largest packet of a device.
pub(crate) fn set_mtu(netns: &NetNs, device: &str, mtu: u32) {
    let changed = netns.block_on(|| async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let index = nix::net::if_::if_nametoindex(device)?;
        let change = rtnetlink::LinkUnspec::new_with_index(index).mtu(mtu).build();
        handle.link().set(change).execute().await.map_err(io::Error::other)
    });
    changed.unwrap().unwrap();
}
