//! Requests and answers, one at a time, in the namespace of the thread that opens the socket.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkMessage,
    NlasIterator, parse_i32, parse_string, parse_u32,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::TcMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::error::{Operation, QdiscError, Target};
use super::record::TcRecord;

const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTCLASS: u16 = 40;
const RTM_NEWTFILTER: u16 = 44;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Attribute of an answer: the kernel's explanation.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel answers at once; this only keeps a broken one from blocking for ever.
const ANSWER_WITHIN_SECONDS: i64 = 10;
/// Attempts to read a list that changes meanwhile.
const DUMP_ATTEMPTS: u32 = 8;

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    Qdiscs,
    Classes,
    Filters,
}

/// A netlink socket for qdiscs and classes. It belongs to the network namespace of the thread that
/// opened it, and needs `CAP_NET_ADMIN` there for everything but listing.
pub struct TcSocket {
    socket: Socket,
    sequence: u32,
}

impl std::fmt::Debug for TcSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcSocket").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl TcSocket {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> Result<Self, QdiscError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            let limit = TimeVal::seconds(ANSWER_WITHIN_SECONDS);
            setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &limit)?;
            Ok(socket)
        };
        Ok(Self { socket: open().map_err(QdiscError::Socket)?, sequence: 0 })
    }

    /// Sends a request and waits for the kernel's answer to it.
    pub(super) fn request(
        &mut self,
        operation: Operation,
        target: &Target,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), QdiscError> {
        let failed = Failed { operation, target };
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags, failed)?;
        loop {
            let datagram = self.receive(failed)?;
            for message in Messages::new(&datagram) {
                let message = message.map_err(|source| failed.malformed(source))?;
                if message.sequence == sequence && message.kind == NLMSG_ERROR {
                    return failed.judge(&message);
                }
            }
        }
    }

    /// Lists what hangs on `target.device`, or under `target.parent` of it for filters.
    pub(super) fn dump(
        &mut self,
        listing: Listing,
        target: &Target,
    ) -> Result<Vec<TcRecord>, QdiscError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(records) = self.try_dump(listing, target)? {
                return Ok(records);
            }
        }
        Err(QdiscError::Unsteady { operation: Operation::Dump, target: Box::new(target.clone()) })
    }

    /// `None` if the list changed while it was read.
    fn try_dump(
        &mut self,
        listing: Listing,
        target: &Target,
    ) -> Result<Option<Vec<TcRecord>>, QdiscError> {
        let failed = Failed { operation: Operation::Dump, target };
        let mut message = TcMessage::with_index(target.device.cast_signed());
        let (message, wanted) = match listing {
            Listing::Qdiscs => (RouteNetlinkMessage::GetQueueDiscipline(message), RTM_NEWQDISC),
            Listing::Classes => (RouteNetlinkMessage::GetTrafficClass(message), RTM_NEWTCLASS),
            Listing::Filters => {
                message.header.parent = target.parent.into();
                (RouteNetlinkMessage::GetTrafficFilter(message), RTM_NEWTFILTER)
            }
        };
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_DUMP, failed)?;
        let (mut records, mut steady) = (Vec::new(), true);
        loop {
            let datagram = self.receive(failed)?;
            for message in Messages::new(&datagram) {
                let message = message.map_err(|source| failed.malformed(source))?;
                if message.sequence != sequence {
                    continue;
                }
                steady &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return Ok(steady.then_some(records)),
                    NLMSG_ERROR => failed.judge(&message)?,
                    NLMSG_NOOP => {}
                    kind if kind == wanted => {
                        let record = TcRecord::parse(message.payload)
                            .map_err(|source| failed.malformed(source))?;
                        if target.device == 0 || record.device == target.device {
                            records.push(record);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        failed: Failed<'_>,
    ) -> Result<u32, QdiscError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|source| failed.transport(source))?;
        Ok(self.sequence)
    }

    fn receive(&self, failed: Failed<'_>) -> Result<Vec<u8>, QdiscError> {
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => return Ok(datagram),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(failed.transport(source)),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Failed<'a> {
    operation: Operation,
    target: &'a Target,
}

impl Failed<'_> {
    fn transport(self, source: io::Error) -> QdiscError {
        let Self { operation, target } = self;
        QdiscError::Transport { operation, target: Box::new(target.clone()), source }
    }

    fn malformed(self, source: DecodeError) -> QdiscError {
        let Self { operation, target } = self;
        QdiscError::Malformed { operation, target: Box::new(target.clone()), source }
    }

    fn judge(self, message: &Message<'_>) -> Result<(), QdiscError> {
        let Answer { code, text } =
            Answer::parse(message).map_err(|source| self.malformed(source))?;
        let Self { operation, target } = self;
        if code == 0 {
            return Ok(());
        }
        let errno = Errno::from_raw(code.saturating_neg());
        // Without words (kernels before 4.16) ENOENT to a new qdisc at the root has one cause only.
        let unknown_kind = match text.as_str() {
            "" => target.parent == super::Handle::ROOT && target.object == "qdisc",
            text => text.contains("kind is unknown"),
        };
        let creates = matches!(operation, Operation::Add | Operation::Replace);
        if errno == Errno::ENOENT && unknown_kind && creates {
            return Err(QdiscError::Unsupported { kind: target.kind.clone(), message: text });
        }
        let target = Box::new(target.clone());
        Err(QdiscError::Refused { operation, target, errno, message: text })
    }
}

/// The kernel's answer to a request.
struct Answer {
    /// 0, or a negated error number.
    code: i32,
    /// Its explanation; may be empty.
    text: String,
}

impl Answer {
    fn parse(message: &Message<'_>) -> Result<Self, DecodeError> {
        let too_short = || DecodeError::from("an answer without an error number");
        let code = parse_i32(message.payload.get(..4).ok_or_else(too_short)?)?;
        let mut text = String::new();
        if message.flags & NLM_F_ACK_TLVS != 0 {
            // The request is repeated before them: its header only, unless the kernel is too old to
            // be asked for that.
            let request = message.payload.get(4..8).ok_or_else(too_short)?;
            let repeated = match message.flags & NLM_F_CAPPED {
                0 => (parse_u32(request)? as usize).next_multiple_of(4),
                _ => HEADER,
            };
            let start = repeated.saturating_add(4);
            let attributes = message.payload.get(start..).unwrap_or_default();
            for nla in NlasIterator::new(attributes) {
                let nla = nla?;
                if nla.kind() == NLMSGERR_ATTR_MSG {
                    text = parse_string(nla.value())?;
                }
            }
        }
        Ok(Self { code, text })
    }
}

/// Reads any bytes as a datagram of the kernel: an entry point for fuzzing.
#[doc(hidden)]
pub fn fuzz(datagram: &[u8]) {
    for message in Messages::new(datagram) {
        let Ok(message) = message else { break };
        let _ = Answer::parse(&message);
        let _ = TcRecord::parse(message.payload);
    }
}

/// One message of a datagram.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// All messages of a datagram.
struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let datagram = std::mem::take(&mut self.rest);
        let header = match NetlinkBuffer::new_checked(datagram) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let length = header.length() as usize;
        let Some(payload) = datagram.get(HEADER..length) else {
            return Some(Err(DecodeError::from("a message shorter than its header")));
        };
        self.rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Message {
            kind: header.message_type(),
            flags: header.flags(),
            sequence: header.sequence_number(),
            payload,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::netlink::qdisc::Handle;
    use crate::kernel::netlink::qdisc::codec::hex;

    fn judge(kind: &str, parent: Handle, datagram: &[u8]) -> Result<(), QdiscError> {
        let target = Target {
            object: "qdisc",
            kind: kind.to_owned(),
            device: 2,
            parent,
            handle: Handle::qdisc(1),
        };
        let message = Messages::new(datagram).next().unwrap().unwrap();
        Failed { operation: Operation::Add, target: &target }.judge(&message)
    }

    // The answer of Linux 6.18 without sch_netem, with NETLINK_CAP_ACK set:
    //      tc qdisc add dev lo root netem
    const NO_NETEM: &str = "48000000 02000003 01000000 00000000
        feffffff 4c000000 24000506 01000000 00000000
        24000100 53706563696669656420716469736320 6b696e6420697320756e6b6e6f776e00";

    #[test]
    fn a_missing_module_is_told_from_other_refusals() {
        let error = judge("netem", Handle::ROOT, &hex(NO_NETEM)).unwrap_err();
        assert!(error.is_unsupported(), "{error:?}");
        assert!(error.to_string().starts_with("this kernel has no sch_netem"), "{error}");

        // ENOENT without words: at the root only one thing can be missing.
        let answer = |code: &str| {
            hex(&format!(
                "24000000 02000001 01000000 00000000 {code} 4c000000 24000506 01000000 00000000"
            ))
        };
        let silent = answer("feffffff");
        assert!(judge("netem", Handle::ROOT, &silent).unwrap_err().is_unsupported());
        let error = judge("netem", Handle::new(1, 1), &silent).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert_eq!(
            error.to_string(),
            "cannot add qdisc netem 1: at 1:1 of device #2: ENOENT: No such file or directory"
        );

        judge("netem", Handle::ROOT, &answer("00000000")).unwrap();
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for message in Messages::new(&bytes) {
                let Ok(message) = message else { break };
                let _ = Answer::parse(&message);
            }
        }
    }
}
