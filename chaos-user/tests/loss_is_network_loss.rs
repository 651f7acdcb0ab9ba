//! To the sender a lost packet must be a packet lost in the network: missed by the receiver and
//! sent again. A drop that the local stack is told about (TC_ACT_SHOT at egress) is none: TCP
//! keeps the segment and goes on as if nothing had happened. Needs root.
//!
//! Who knows is the receiver: a segment lost on the way leaves a hole, and what comes behind it is
//! queued out of order. The sender's retransmissions also count what was sent again for nothing.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use aya::programs::TcAttachType;
use aya::programs::tc::qdisc_add_clsact;
use chaos::experiment::units::{Direction, Protocol};
use chaos::fault::Session;
use chaos::kernel::bpf::{Mechanism, Object, Sizes};
use chaos::plan::{Action, Loss, Request, Rule, Selector, compile};

use support::{NEAR, Pair, isolated};

/// Enough drops that chance plays no part.
const DROPS: u64 = 20;
/// Whichever comes first ends a transfer.
const MOST_TIME: Duration = Duration::from_mins(1);
const MOST_BYTES: usize = 2 << 30;

/// What a transfer came to.
#[derive(Debug)]
struct Transfer {
    dropped: u64,
    /// Segments that the receiver had to put aside, because one before them was missing.
    out_of_order: u64,
    retransmitted: u64,
}

/// Sends from the near to the far end until `dropped` says it is enough, and waits until all has
/// arrived.
fn transfer(pair: &Pair, mut dropped: impl FnMut() -> u64) -> Transfer {
    stay_on_this_processor();
    let address: IpAddr = "10.77.0.2".parse().unwrap();
    let listener = pair.far.run(|| TcpListener::bind((address, 0))).unwrap().unwrap();
    let to = listener.local_addr().unwrap();
    let sink = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 18], 0);
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return total,
                size => total += size,
            }
        }
    });
    let mut stream = pair.near.run(|| TcpStream::connect(to)).unwrap().unwrap();
    let congestion = use_cubic(&stream);
    stream.set_write_timeout(Some(MOST_TIME)).unwrap();
    let (start, data) = (Instant::now(), vec![0x5a; 1 << 18]);
    let mut bytes = 0;
    while bytes < MOST_BYTES && start.elapsed() < MOST_TIME && dropped() < DROPS {
        stream.write_all(&data).unwrap();
        bytes += data.len();
    }
    // All is acknowledged when nothing is left in the send queue.
    while unsent(&stream) > 0 {
        assert!(start.elapsed() < 2 * MOST_TIME, "the transfer does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (dropped, retransmitted) = (dropped(), retransmitted(&stream));
    drop(stream);
    assert_eq!(sink.join().unwrap(), bytes);
    println!("{bytes} bytes with {congestion}");
    Transfer { dropped, out_of_order: out_of_order(pair), retransmitted }
}

/// Keeps this thread, and those it starts, where it is. A packet through a veth pair waits in the
/// queue of the processor that sent it, and a sender sends both from its own thread and from where
/// an acknowledgement arrives. On two processors the two overtake each other: holes without loss.
fn stay_on_this_processor() {
    use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
    let mut here = CpuSet::new();
    here.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(nix::unistd::Pid::from_raw(0), &here).unwrap();
}

/// From the counters of the receiver's namespace, in which there is nothing else.
fn out_of_order(pair: &Pair) -> u64 {
    let read = || std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let text = pair.far.run(read).unwrap();
    let mut lines = text.lines();
    let names = lines.find(|line| line.starts_with("TcpExt: ")).unwrap();
    let column = names.split(' ').position(|name| name == "TCPOFOQueue").unwrap();
    lines.next().unwrap().split(' ').nth(column).unwrap().parse().unwrap()
}

/// The default elsewhere is taken where cubic is not built in.
fn use_cubic(stream: &TcpStream) -> &'static str {
    use nix::sys::socket::{setsockopt, sockopt::TcpCongestion};
    match setsockopt(stream, TcpCongestion, &"cubic".into()) {
        Ok(()) => "cubic",
        Err(_) => "the default",
    }
}

#[expect(unsafe_code, reason = "TCP_INFO has no safe wrapper")]
fn retransmitted(stream: &TcpStream) -> u64 {
    // SAFETY: plain numbers; the kernel writes at most `length` bytes.
    let (info, result) = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let result = libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        );
        (info, result)
    };
    assert_eq!(result, 0);
    u64::from(info.tcpi_total_retrans)
}

#[expect(unsafe_code, reason = "SIOCOUTQ has no safe wrapper")]
fn unsent(stream: &TcpStream) -> i32 {
    let mut size = 0;
    // SAFETY: the kernel writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut size) };
    assert_eq!(result, 0);
    size
}

fn one_percent(direction: Direction) -> Rule {
    let selector = Selector { direction, protocol: Some(Protocol::TCP), ..Selector::default() };
    let action = Action::Drop(Loss::Exact("1%".parse().unwrap()));
    Rule { name: "1 %".into(), selector, action }
}

fn every_drop_is_retransmitted(mechanism: Mechanism) {
    let pair = Pair::new();
    let rule = one_percent(Direction::To);
    let mut fault = pair.fault(rule.selector, rule.action);
    fault.lasts = chaos::experiment::units::Span::from_secs(600);
    fault.mechanism = mechanism;
    let active = Session::start("loss", &[fault]).unwrap();
    let transfer = transfer(&pair, || active.evidence().unwrap()[0].acted);
    println!("lost in the network: {transfer:?}");
    active.heal().unwrap();
    assert!(transfer.dropped >= DROPS, "{transfer:?}");
    // Drops may be neighbours or the last before a pause, so not each has a hole of its own.
    assert!(transfer.out_of_order >= transfer.dropped / 2, "{transfer:?}");
    // A dropped packet is a burst of segments, so there are usually many more.
    assert!(transfer.retransmitted >= transfer.dropped, "{transfer:?}");
}

#[test]
fn a_drop_at_egress_is_retransmitted() {
    isolated("a_drop_at_egress_is_retransmitted", || every_drop_is_retransmitted(Mechanism::Auto));
}

#[test]
fn a_drop_at_egress_is_retransmitted_with_clsact() {
    isolated("a_drop_at_egress_is_retransmitted_with_clsact", || {
        every_drop_is_retransmitted(Mechanism::Clsact);
    });
}

/// What the tests above would see if drops were local: the program for arriving packets, which
/// shoots, put where packets leave.
#[test]
fn the_control_a_local_drop_leaves_no_hole() {
    isolated("the_control_a_local_drop_leaves_no_hole", || {
        let pair = Pair::new();
        let rules = [one_percent(Direction::From)];
        let request = Request {
            rules: &rules,
            devices: &[Vec::new()],
            not_before: 0,
            not_after: u64::MAX,
            seed: 1,
            skip_tagged: false,
        };
        let tables = compile(&request).unwrap().tables;
        let mut object = Object::load(Sizes::of(&tables)).unwrap();
        let filled = object.fill(&tables).unwrap();
        object.lease().extend(u64::MAX);
        object.flip(filled, 0);
        pair.near
            .run(|| {
                // TCX does without; older kernels do not.
                qdisc_add_clsact(NEAR).unwrap();
                let program = object.classifier("chaos_ingress").unwrap();
                program.attach(NEAR, TcAttachType::Egress).unwrap();
            })
            .unwrap();
        let counters = object.counters().unwrap();
        let transfer = transfer(&pair, || counters.rule(0).unwrap().acted);
        println!("dropped locally: {transfer:?}");
        assert!(transfer.dropped >= DROPS, "{transfer:?}");
        // Far from the half that there is of drops in the network: a timer may send from elsewhere, and
        // that overtakes.
        assert!(transfer.out_of_order <= transfer.dropped / 5, "{transfer:?}");
    });
}
