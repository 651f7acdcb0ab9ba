//! The TAP device through which packets leave the kernel and come back.

#![expect(unsafe_code, reason = "devices are made and prepared by ioctls without safe wrappers")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use libc::ifreq;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};

use super::error::DelayLineError;

/// How packets are cut when they enter the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Segmentation {
    /// A burst of one TCP (or UDP) stream stays one super-packet with one delay, as in a netem
    /// qdisc: high throughput.
    #[default]
    Offloaded,
    /// Every packet on the wire is one packet here.
    PerPacket,
}

/// Whether more queues will join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queues {
    One,
    Many,
}

/// One queue of a TAP device. The device vanishes, with what is queued in it, when its last queue is
/// dropped.
#[derive(Debug)]
pub(super) struct Tap {
    fd: OwnedFd,
    name: String,
    index: u32,
}

mod ioctl {
    nix::ioctl_readwrite_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_ptr_bad!(tun_set_steering, libc::TUNSETSTEERINGEBPF, libc::c_int);
    nix::ioctl_write_int_bad!(tun_set_offload, libc::TUNSETOFFLOAD as libc::c_int);
    nix::ioctl_read_bad!(tun_features, libc::TUNGETFEATURES, libc::c_uint);
    nix::ioctl_readwrite_bad!(get_flags, libc::SIOCGIFFLAGS, libc::ifreq);
    nix::ioctl_readwrite_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
    nix::ioctl_readwrite_bad!(get_index, libc::SIOCGIFINDEX, libc::ifreq);
    nix::ioctl_readwrite_bad!(get_name, libc::SIOCGIFNAME, libc::ifreq);
    nix::ioctl_readwrite_bad!(set_queue_length, libc::SIOCSIFTXQLEN, libc::ifreq);
}

/// Whether the host has what TAP devices are made with. Makes none.
pub fn check_tun() -> Result<(), DelayLineError> {
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open("/dev/net/tun", flags, Mode::empty())
        .map_err(|errno| DelayLineError::NoTun { errno })?;
    let mut features = 0;
    // SAFETY: TUNGETFEATURES writes one unsigned int, which lives during the call.
    unsafe { ioctl::tun_features(fd.as_raw_fd(), &raw mut features) }
        .map(drop)
        .map_err(|errno| DelayLineError::CreateTap { name: super::handle::NAME.into(), errno })
}

type Ioctl = unsafe fn(RawFd, *mut ifreq) -> nix::Result<libc::c_int>;

impl Tap {
    /// Makes a device in the calling thread's namespace, without addresses, and brings it up.
    ///
    /// `queue_length` packets can wait in each queue to be read; the kernel drops and counts more.
    pub(super) fn create(
        pattern: &str,
        segmentation: Segmentation,
        queue_length: u32,
        queues: Queues,
    ) -> Result<Self, DelayLineError> {
        let mut tap = Self::open(pattern, queues)?;
        tap.offload(segmentation)?;

        let control = control_socket().map_err(|errno| tap.failed("open the settings", errno))?;
        tap.set(&control, ioctl::set_queue_length, "set the queue length", |request| {
            request.ifr_ifru.ifru_metric = i32::try_from(queue_length).unwrap_or(i32::MAX);
        })?;
        // Router solicitations would only be strays. Where IPv6 is off there is nothing to switch.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", tap.name), "1");
        let mut flags = 0;
        tap.set(&control, ioctl::get_flags, "read the flags", |_| {}).map(|request| {
            // SAFETY: SIOCGIFFLAGS filled in this field.
            flags = unsafe { request.ifr_ifru.ifru_flags };
        })?;
        tap.set(&control, ioctl::set_flags, "raise the link", |request| {
            let wanted = (libc::IFF_UP | libc::IFF_NOARP) as libc::c_short;
            request.ifr_ifru.ifru_flags = flags | wanted;
        })?;
        let request = tap.set(&control, ioctl::get_index, "read the index", |_| {})?;
        // SAFETY: SIOCGIFINDEX filled in this field.
        tap.index = unsafe { request.ifr_ifru.ifru_ifindex } as u32;
        Ok(tap)
    }

    /// One more queue of an existing device of the calling thread's namespace.
    pub(super) fn join(name: &str, index: u32) -> Result<Self, DelayLineError> {
        Ok(Self { index, ..Self::open(name, Queues::Many)? })
    }

    fn open(name: &str, queues: Queues) -> Result<Self, DelayLineError> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = open("/dev/net/tun", flags, Mode::empty())
            .map_err(|errno| DelayLineError::NoTun { errno })?;
        let refused = |errno| DelayLineError::CreateTap { name: name.into(), errno };
        let mut request = named(name).map_err(refused)?;
        let mut kind = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if queues == Queues::Many {
            kind |= libc::IFF_MULTI_QUEUE;
        }
        request.ifr_ifru.ifru_flags = kind as libc::c_short;
        call(ioctl::tun_set_iff, &fd, &mut request).map_err(refused)?;
        Ok(Self { fd, name: name_in(&request), index: 0 })
    }

    /// Lets a socket filter program choose the queue of each packet: its answer modulo the number
    /// of queues. Since Linux 4.16.
    pub(super) fn steer(&self, program: BorrowedFd<'_>) -> Result<(), DelayLineError> {
        let program = program.as_raw_fd();
        // SAFETY: TUNSETSTEERINGEBPF reads one int, which lives during the call.
        let steered = unsafe { ioctl::tun_set_steering(self.fd.as_raw_fd(), &raw const program) };
        steered.map(drop).map_err(|errno| self.failed("steer the queues", errno))
    }

    /// The device's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The device's interface index.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// One frame with its vnet header; `None` when there is none to read now.
    pub(super) fn read(&self, into: &mut [u8]) -> Result<Option<usize>, Errno> {
        loop {
            match read(&self.fd, into) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Hands one frame with its vnet header to the kernel, as if it arrived on the device.
    pub(super) fn write(&self, frame: &[u8]) -> Result<(), Errno> {
        loop {
            match write(&self.fd, frame) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Packets that the kernel dropped because the queue was full.
    pub(super) fn overruns(&self) -> Option<u64> {
        let devices = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
        transmit_drops(&devices, &self.name)
    }

    fn offload(&self, segmentation: Segmentation) -> Result<(), DelayLineError> {
        let streams = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        let choices: &[libc::c_uint] = match segmentation {
            // UDP segmentation can be left to the reader since Linux 6.2.
            Segmentation::Offloaded => &[streams | libc::TUN_F_USO4 | libc::TUN_F_USO6, streams],
            Segmentation::PerPacket => &[0],
        };
        let mut outcome = Ok(0);
        for choice in choices {
            // SAFETY: TUNSETOFFLOAD takes flags by value; the descriptor is open.
            outcome = unsafe { ioctl::tun_set_offload(self.fd.as_raw_fd(), choice.cast_signed()) };
            if outcome != Err(Errno::EINVAL) {
                break;
            }
        }
        outcome.map(drop).map_err(|errno| self.failed("set the offloads", errno))
    }

    fn set(
        &self,
        control: &OwnedFd,
        ioctl: Ioctl,
        operation: &'static str,
        fill: impl FnOnce(&mut ifreq),
    ) -> Result<ifreq, DelayLineError> {
        let mut request = named(&self.name).map_err(|errno| self.failed(operation, errno))?;
        fill(&mut request);
        call(ioctl, control, &mut request).map_err(|errno| self.failed(operation, errno))?;
        Ok(request)
    }

    fn failed(&self, operation: &'static str, errno: Errno) -> DelayLineError {
        DelayLineError::ConfigureTap { operation, name: self.name.clone(), errno }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Tells whether devices exist, in the namespace of the thread that made it.
#[derive(Debug)]
pub(super) struct DeviceWatch(OwnedFd);

impl DeviceWatch {
    pub(super) fn new() -> Result<Self, DelayLineError> {
        let socket = control_socket();
        socket.map(Self).map_err(|errno| DelayLineError::Wait { what: "socket", errno })
    }

    /// Whether a device has this index.
    pub(super) fn exists(&self, index: u32) -> bool {
        // SAFETY: all zeroes is a valid ifreq.
        let mut request: ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = index.cast_signed();
        // Only this error says that there is none.
        call(ioctl::get_name, &self.0, &mut request) != Err(Errno::ENODEV)
    }
}

fn control_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

fn call(ioctl: Ioctl, fd: &OwnedFd, request: &mut ifreq) -> nix::Result<()> {
    // SAFETY: all requests used here take an ifreq, which lives during the call.
    unsafe { ioctl(fd.as_raw_fd(), request) }.map(drop)
}

fn named(name: &str) -> nix::Result<ifreq> {
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

fn name_in(request: &ifreq) -> String {
    let bytes = request.ifr_name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// The `drop` column of the transmit side in `/proc/net/dev`.
fn transmit_drops(devices: &str, name: &str) -> Option<u64> {
    let line = devices.lines().find_map(|line| {
        let (found, rest) = line.split_once(':')?;
        (found.trim() == name).then_some(rest)
    })?;
    line.split_ascii_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transmit_drops_are_found_by_device() {
        let devices = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame \
            compressed multicast|bytes packets errs drop fifo colls carrier compressed\n\
            \x20   lo:  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
            chaosd0: 10 20 30 40 50 60 70 80 90 100 110 120 130 140 150 160\n";
        assert_eq!(transmit_drops(devices, "chaosd0"), Some(120));
        assert_eq!(transmit_drops(devices, "lo"), Some(12));
        assert_eq!(transmit_drops(devices, "chaosd"), None);
        assert_eq!(transmit_drops("", "lo"), None);
    }

    #[test]
    fn a_name_too_long_is_refused_before_the_kernel_cuts_it() {
        assert_eq!(named("a-name-of-16-len").err(), Some(Errno::ENAMETOOLONG));
        assert_eq!(name_in(&named("a-name-of-15-le").unwrap()), "a-name-of-15-le");
    }
}
