use proptest::prelude::*;

use super::*;

/// A frame as the TAP gives it out: vnet header, Ethernet with a tag, then `rest`.
fn tagged(gso_size: u16, tci: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; VNET_HEADER];
    frame[4..6].copy_from_slice(&gso_size.to_ne_bytes());
    frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame.extend(0x8100_u16.to_be_bytes());
    frame.extend(tci.to_be_bytes());
    frame.extend(rest);
    frame
}

fn ipv4_tcp(source_port: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, TCP, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(source_port.to_be_bytes());
    packet.extend([0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x10, 0, 0, 0, 0, 0, 0]);
    packet.extend([0; 12]);
    packet.extend(vec![0; payload]);
    packet
}

fn summary(frame: &[u8]) -> Summary {
    summarise(&frame[..frame.len().min(256)], frame.len())
}

#[test]
fn the_slot_is_the_vlan_identifier_without_priority_bits() {
    let slot = |tci| summary(&tagged(0, tci, &ipv4_tcp(1, 0))).slot.map(Slot::get);
    assert_eq!(slot(0x0001), Some(1));
    assert_eq!(slot(0xeffe), Some(4094));
    assert_eq!(slot(0xe000), None);
    assert_eq!(slot(0x0fff), None);
    let mut plain = tagged(0, 1, &ipv4_tcp(1, 0));
    plain[VNET_HEADER + MAC_ADDRESSES] = 0x08;
    assert_eq!(summary(&plain).slot, None);
}

#[test]
fn a_number_is_in_a_second_tag_that_the_first_announces() {
    let rest = ipv4_tcp(1000, 1000);
    let number = [&[0x81, 0x00, 0x12, 0x34], &rest[..]].concat();
    let plain = summary(&tagged(0, 1, &rest));
    let numbered = summary(&tagged(0, 0x1001, &number));
    assert_eq!(numbered, Summary { number: Some(0x1234), ..plain });
    assert_eq!(plain.number, None);
    // A tag of the packet's own.
    assert_eq!(summary(&tagged(0, 1, &number)).number, None);
    let mut frame = tagged(0, 0x1001, &number);
    assert_eq!(number_of(&frame), Some(0x1234));
    assert_eq!(frame[NUMBER], [0x12, 0x34]);
    frame.truncate(NUMBER.start);
    assert_eq!(number_of(&frame), None);
}

#[test]
fn a_super_packet_counts_what_its_segments_have_on_the_wire() {
    let headers = 14 + 20 + 32;
    let plain = summary(&tagged(0, 1, &ipv4_tcp(1, 1000)));
    assert_eq!((plain.bytes, plain.packets), (headers + 1000, 1));
    let burst = summary(&tagged(1448, 1, &ipv4_tcp(1, 1448 * 3 + 1)));
    assert_eq!((burst.bytes, burst.packets), (headers * 4 + 1448 * 3 + 1, 4));
    assert_eq!(plain.flow, burst.flow);
}

#[test]
fn a_flow_is_addresses_protocol_and_ports() {
    let flow = |packet: &[u8]| summary(&tagged(0, 1, packet)).flow;
    let one = ipv4_tcp(1000, 10);
    assert_ne!(flow(&one), flow(&ipv4_tcp(1001, 10)));
    let mut udp = one.clone();
    udp[11] = UDP;
    assert_ne!(flow(&one), flow(&udp));
    let mut fragment = one.clone();
    fragment[8] = 0x20;
    let mut other_ports = ipv4_tcp(1001, 10);
    other_ports[8] = 0x20;
    assert_eq!(flow(&fragment), flow(&other_ports));

    let mut inner_vlan = vec![0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 6];
    inner_vlan.extend(&one);
    assert_eq!(flow(&inner_vlan), flow(&one));

    let mut v6 = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, UDP, 64];
    v6.extend([0xfd; 32]);
    v6.extend([0, 1, 0, 2, 0, 8, 0, 0]);
    let mut v6_other = v6.clone();
    v6_other[45] = 9;
    assert_ne!(flow(&v6), flow(&v6_other));
    let mut options = v6.clone();
    options[8] = 0;
    options.splice(42..42, [UDP, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(flow(&v6), flow(&options));
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..256), more in 0..70_000_usize) {
        let found = summarise(&bytes, bytes.len() + more);
        prop_assert!(found.packets >= 1);
    }

    #[test]
    fn no_header_is_too_strange(gso in any::<u16>(), tci in any::<u16>(), rest in prop::collection::vec(any::<u8>(), 0..100)) {
        for kind in [[8, 0], [0x86, 0xdd], [0x81, 0]] {
            let mut rest = rest.clone();
            rest.splice(0..0, kind);
            let frame = tagged(gso, tci, &rest);
            prop_assert_eq!(summary(&frame).slot.map(Slot::get), Some(tci & 0xfff).filter(|n| (1..4095).contains(n)));
        }
    }
}
