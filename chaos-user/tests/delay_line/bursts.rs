//! Many packets that leave at the same moment: each once, whole, in order; together where the kernel can
//! take several by one call.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use chaos::kernel::delay_line::Config;
use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use crate::bed::{Bed, Direction, Family, NEAR, latency, slot, slowness};

const PORT: u16 = 7300;
/// Fewer than the kernel lets wait in its backlog.
const BURST: u32 = 800;
const FOREVER: f64 = 60_000.0;

/// Of many sizes, so that frames have memory of many sizes.
fn datagram(number: u32) -> Vec<u8> {
    number.to_ne_bytes().repeat(1 + number as usize * 7 % 350)
}

struct Pair {
    sender: UdpSocket,
    receiver: UdpSocket,
    next: u32,
}

impl Pair {
    fn new(bed: &Bed) -> Self {
        let at = SocketAddr::new(Family::V4.far(), PORT);
        let receiver = bed.far.run(|| UdpSocket::bind(at).unwrap()).unwrap();
        setsockopt(&receiver, RcvBufForce, &(16 << 20)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(3) * slowness())).unwrap();
        let sender = bed.near.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        sender.connect(at).unwrap();
        Self { sender, receiver, next: 0 }
    }

    fn send_burst(&mut self) {
        for number in self.next..self.next + BURST {
            self.sender.send(&datagram(number)).unwrap();
        }
    }

    fn receive_burst(&mut self) {
        let mut buffer = [0; 1500];
        for number in self.next..self.next + BURST {
            let length = self.receiver.recv(&mut buffer).unwrap();
            assert!(buffer[..length] == datagram(number), "instead of {number}: {length} bytes");
        }
        self.next += BURST;
    }
}

/// Answers how many frames left together with others, or why none could.
fn bursts() -> Result<u64, Errno> {
    let mut bed = Bed::new(&Config::default());
    bed.catch(NEAR, Direction::Egress);
    bed.divert(PORT.into(), slot(1), NEAR, Direction::Egress, latency(20.0));
    let mut pair = Pair::new(&bed);
    for _ in 0..3 {
        pair.send_burst();
        pair.receive_burst();
    }
    let before = bed.line().status().unwrap().together;

    let index = bed.index(NEAR);
    bed.line().set(slot(1), index, latency(FOREVER)).unwrap();
    pair.send_burst();
    wait_until_held(&bed);
    bed.line().retire(slot(1)).unwrap();
    pair.receive_burst();
    let together = bed.line().status().unwrap().together;

    bed.line().set(slot(1), index, latency(FOREVER)).unwrap();
    pair.send_burst();
    wait_until_held(&bed);
    bed.undivert();
    let (result, evidence) = bed.line.take().unwrap().stop();
    result.unwrap();
    pair.receive_burst();
    let counters = evidence[0].1.counters;
    assert_eq!((counters.refused, counters.dropped, counters.bypassed), (0, 0, 0));
    // The slot began anew after it was retired.
    assert_eq!((counters.arrived, counters.released), (BURST.into(), BURST.into()));
    pair.receiver.set_nonblocking(true).unwrap();
    assert_eq!(pair.receiver.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    Ok(together? - before?)
}

fn wait_until_held(bed: &Bed) {
    let deadline = Instant::now() + Duration::from_secs(3) * slowness();
    while bed.line().status().unwrap().held < BURST as usize {
        assert!(Instant::now() < deadline, "{:?}", bed.line().status());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether nothing forbids io_uring, as the kernel itself says it. Older kernels do not say.
fn may_batch() -> bool {
    let allowed = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let filters = fs::read_to_string("/proc/thread-self/status").unwrap();
    allowed.is_ok_and(|text| text.trim() == "0")
        && filters.lines().any(|line| line == "Seccomp:\t0")
}

#[test]
fn bursts_arrive_whole_and_in_order() {
    let together = bursts();
    println!("left together: {together:?}");
    if may_batch() {
        assert_eq!(together, Ok(BURST.into()));
    }
}

#[test]
fn bursts_arrive_where_io_uring_is_refused() {
    let together = thread::spawn(|| {
        refuse_io_uring();
        bursts()
    });
    // A kernel without it needs no filter to refuse.
    assert!(matches!(together.join().unwrap(), Err(Errno::EPERM | Errno::ENOSYS)));
}

/// For the calling thread, and those that it starts.
#[expect(unsafe_code, reason = "seccomp filters have no safe wrapper")]
fn refuse_io_uring() {
    let statement =
        |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut program = [
        // The number is the first field of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_io_uring_setup as u32, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives during the call.
    let refused = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(refused, 0, "{}", io::Error::last_os_error());
}
