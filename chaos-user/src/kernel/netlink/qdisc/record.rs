//! One qdisc or class as a dump tells it, options left as bytes.
//!
//! netlink-packet-route parses the options of the kinds it knows and cannot emit those of others
//! again; what is to be put back needs the bytes as they were.

use netlink_packet_core::{
    DecodeError, ErrorContext as _, NlasIterator, parse_string, parse_u32, parse_u64,
};
use netlink_packet_route::tc::TcHeader;

use super::handle::Handle;

/// Length of `struct tcmsg`.
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_STATS2: u16 = 7;
const TCA_STAB: u16 = 8;
const TCA_HW_OFFLOAD: u16 = 12;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
const TCA_STATS_PKT64: u16 = 8;

/// What a qdisc or class counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes that went through.
    pub bytes: u64,
    /// Packets that went through; modulo 2³² before Linux 5.5.
    pub packets: u64,
    /// Packets that wait.
    pub queued: u32,
    /// Bytes that wait.
    pub backlog: u32,
    /// Packets that were dropped, on purpose (netem's loss) or for lack of room.
    pub drops: u32,
    /// Packets that were put back after an attempt to send them.
    pub requeues: u32,
    /// Packets that had to wait for tokens.
    pub overlimits: u32,
}

/// One entry of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcRecord {
    /// Index of the device.
    pub device: u32,
    /// Its own handle; unspecified for a qdisc that the kernel made by itself.
    pub handle: Handle,
    /// Where it hangs.
    pub parent: Handle,
    /// For a class: the qdisc that is its leaf. For a qdisc: a reference count.
    pub info: u32,
    /// `TCA_KIND`
    pub kind: String,
    /// The value of `TCA_OPTIONS`.
    pub options: Option<Vec<u8>>,
    /// Whether a size table (`tc … stab`) is set.
    pub has_size_table: bool,
    /// Whether a device does its work.
    pub offloaded: bool,
    /// What it counted.
    pub counters: Counters,
}

impl TcRecord {
    /// Parses a `struct tcmsg` and its attributes.
    pub fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let header = TcHeader::parse(payload)?;
        let mut record = Self {
            device: header.index.cast_unsigned(),
            handle: header.handle.into(),
            parent: header.parent.into(),
            info: header.info,
            kind: String::new(),
            options: None,
            has_size_table: false,
            offloaded: false,
            counters: Counters::default(),
        };
        for nla in NlasIterator::new(&payload[HEADER..]) {
            let nla = nla?;
            let value = nla.value();
            match nla.kind() {
                TCA_KIND => record.kind = parse_string(value).context("invalid TCA_KIND")?,
                TCA_OPTIONS => record.options = Some(value.to_vec()),
                TCA_STATS2 => record.counters = parse_counters(value)?,
                TCA_STAB => record.has_size_table = true,
                TCA_HW_OFFLOAD => record.offloaded = value.first().is_some_and(|flag| *flag != 0),
                _ => {}
            }
        }
        Ok(record)
    }

    /// Whether it is clsact or ingress, which queue nothing and stand beside the root.
    pub fn is_ingress(&self) -> bool {
        self.parent == Handle::INGRESS_PARENT
    }
}

fn parse_counters(payload: &[u8]) -> Result<Counters, DecodeError> {
    let mut counters = Counters::default();
    let word = |value: &[u8], at: usize| {
        parse_u32(
            value.get(at..at + 4).ok_or_else(|| DecodeError::from("statistics are too short"))?,
        )
    };
    for nla in NlasIterator::new(payload) {
        let nla = nla?;
        let value = nla.value();
        match nla.kind() {
            TCA_STATS_BASIC => {
                let bytes =
                    value.get(..8).ok_or_else(|| DecodeError::from("statistics are too short"))?;
                counters.bytes = parse_u64(bytes)?;
                counters.packets = counters.packets.max(word(value, 8)?.into());
            }
            TCA_STATS_PKT64 => counters.packets = parse_u64(value)?,
            TCA_STATS_QUEUE => {
                counters.queued = word(value, 0)?;
                counters.backlog = word(value, 4)?;
                counters.drops = word(value, 8)?;
                counters.requeues = word(value, 12)?;
                counters.overlimits = word(value, 16)?;
            }
            _ => {}
        }
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::netlink::qdisc::codec::hex;

    // Dumped by Debian's 6.1 (netlink header removed) after
    //      tc qdisc add dev lo root handle 1: netem delay 100ms
    // with a packet of 98 bytes dropped and one queued written into the statistics.
    #[test]
    fn a_dump_of_netem() {
        let raw = hex("00000000 01000000 00000100 ffffffff 02000000
             0a000100 6e6574656d000000
             1c000200 84d71700 e8030000 00000000 00000000 00000000 00000000
             05000c00 00000000
             30000700
               14000100 6200000000000000 01000000 00000000
               18000300 01000000 62000000 01000000 00000000 02000000");
        let record = TcRecord::parse(&raw).unwrap();
        assert_eq!(
            (record.device, record.handle, record.parent, record.kind.as_str()),
            (1, Handle::qdisc(1), Handle::ROOT, "netem")
        );
        assert_eq!(record.options.map(|bytes| bytes.len()), Some(24));
        assert!(!record.offloaded && !record.has_size_table);
        assert_eq!(
            record.counters,
            Counters {
                bytes: 98,
                packets: 1,
                queued: 1,
                backlog: 98,
                drops: 1,
                requeues: 0,
                overlimits: 2
            }
        );
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = TcRecord::parse(&bytes);
            let _ = parse_counters(&bytes);
        }
    }
}
