//! clsact: a place for classifiers before the qdisc; it queues nothing and has no options.

use netlink_packet_route::tc::TcHandle;

/// clsact has no `TCA_OPTIONS`; only its kind and its fixed place matter. Linux 4.5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcQdiscClsact {}

impl TcQdiscClsact {
    /// `TCA_KIND`
    pub const KIND: &'static str = "clsact";
    /// The only handle the kernel gives it, `ffff:`.
    pub const HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
    /// The only parent it can have, `ffff:fff1`.
    pub const PARENT: TcHandle = TcHandle::CLSACT;
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable as _, Parseable as _};
    use netlink_packet_route::tc::{TcAttribute, TcHeader, TcMessage};

    use super::*;

    // Setup:
    //      ip link add v0 type veth peer name v1
    //
    // Capture (iproute2 6.1.0), netlink header removed:
    //      strace -e sendmsg -xx tc qdisc add dev v0 clsact
    #[test]
    fn golden_bytes_both_ways() {
        let raw: &[u8] = &[
            0x00, 0x00, 0x00, 0x00, // tcm_family: AF_UNSPEC, padding
            0x03, 0x00, 0x00, 0x00, // tcm_ifindex: 3
            0x00, 0x00, 0xff, 0xff, // tcm_handle: ffff:
            0xf1, 0xff, 0xff, 0xff, // tcm_parent: ffff:fff1
            0x00, 0x00, 0x00, 0x00, // tcm_info
            0x0b, 0x00, 0x01, 0x00, // length 11, TCA_KIND
            0x63, 0x6c, 0x73, 0x61, 0x63, 0x74, 0x00, 0x00, // "clsact\0", padding
        ];
        let message = TcMessage::from_parts(
            TcHeader {
                index: 3,
                handle: TcQdiscClsact::HANDLE,
                parent: TcQdiscClsact::PARENT,
                ..TcHeader::default()
            },
            vec![TcAttribute::Kind(TcQdiscClsact::KIND.to_owned())],
        );
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert_eq!(bytes, raw);
        assert_eq!(TcMessage::parse(raw).unwrap(), message);
    }
}
