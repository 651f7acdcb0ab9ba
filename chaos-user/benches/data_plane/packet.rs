//! Packets to classify.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

/// The port that rules select.
pub(crate) const PORT: u16 = 5432;

/// This side's port, where it does not matter.
pub(crate) const CLIENT: u16 = 40_000;

const PAYLOAD: usize = 64;

/// Number `i` of the addresses that rules select.
pub(crate) fn peer(v6: bool, i: u32) -> IpAddr {
    if v6 {
        let [.., c, d] = [(i >> 16) as u16, i as u16];
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 1, c, d).into()
    } else {
        Ipv4Addr::from(0x0a10_0000 + i).into()
    }
}

/// A packet from a port of this host to `to`, checksums left out: the classifier does not read them.
pub(crate) fn packet(to: IpAddr, protocol: u8, tcp_flags: u8, from_port: u16) -> Vec<u8> {
    let transport = transport(protocol, tcp_flags, from_port);
    let length = transport.len() as u16;
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match to {
        IpAddr::V4(to) => {
            bytes.extend([8, 0, 0x45, 0]);
            bytes.extend((20 + length).to_be_bytes());
            bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
            bytes.extend([192, 0, 2, 1]);
            bytes.extend(to.octets());
        }
        IpAddr::V6(to) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
            bytes.extend(to.octets());
        }
    }
    bytes.extend(transport);
    bytes
}

fn transport(protocol: u8, tcp_flags: u8, from_port: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from_port.to_be_bytes());
    bytes.extend(PORT.to_be_bytes());
    if protocol == TCP {
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, tcp_flags, 0x20, 0, 0, 0, 0, 0]);
    } else {
        bytes.extend((8 + PAYLOAD as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.resize(bytes.len() + PAYLOAD, 0);
    bytes
}
