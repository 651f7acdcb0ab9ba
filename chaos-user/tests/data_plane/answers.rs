//! The answers to refused packets: addressed, numbered and summed as the standards ask.

use std::net::IpAddr;

use chaos::plan::Answer;
use chaos_common::Hook;
use etherparse::{Icmpv4Header, NetSlice, SlicedPacket, TcpHeader, TransportSlice};

use crate::bench::{Bench, LOOPBACK, bench};
use crate::oracle::{NEXT, REDIRECT, SHOT, answerable};
use crate::packets::{ACK, Extension, FAR, FIN, Kind, NEAR, RST, SYN, Sample};
use crate::rules::{ANSWERS, both, reject, rule};

const HOOKS: [Hook; 2] = [Hook::Egress, Hook::Ingress];
const PAIRS: [(&str, &str); 2] = [("10.1.0.5", "10.2.0.9"), ("fd01::5", "fd02::9")];

/// The answer to a packet that must be answered, its link and network layer checked.
fn answer(bench: &mut Bench, hook: Hook, sample: &Sample) -> Vec<u8> {
    let device = bench.devices[0];
    let before = bench.hook(hook).reject_failed;
    let outcome = bench.send(hook, device, &sample.bytes());
    assert_eq!(outcome.code, REDIRECT, "{hook:?} {sample:?}");
    assert_eq!(bench.hook(hook).reject_failed, before, "{hook:?} {sample:?}");
    let answer = SlicedPacket::from_ethernet(&outcome.bytes).unwrap();
    let ethernet = answer.link.as_ref().and_then(|link| link.to_header()?.ethernet2()).unwrap();
    assert_eq!((ethernet.source, ethernet.destination), (FAR, NEAR));
    let (source, destination, length) = match answer.net.as_ref().unwrap() {
        NetSlice::Ipv4(v4) => {
            let header = v4.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            assert_eq!(header.ttl(), 64);
            let (source, destination) = (header.source_addr(), header.destination_addr());
            (IpAddr::V4(source), IpAddr::V4(destination), usize::from(header.total_len()))
        }
        NetSlice::Ipv6(v6) => {
            let header = v6.header();
            assert_eq!(header.hop_limit(), 64);
            let length = usize::from(header.payload_length()) + 40;
            (header.source_addr().into(), header.destination_addr().into(), length)
        }
        NetSlice::Arp(_) => panic!("ARP"),
    };
    assert_eq!((source, destination), (sample.destination, sample.source));
    assert_eq!(outcome.bytes.len(), 14 + length);
    outcome.bytes.clone()
}

fn reset(bytes: &[u8]) -> TcpHeader {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP: {packet:?}") };
    let sum = match packet.net.unwrap() {
        NetSlice::Ipv4(v4) => {
            tcp.calc_checksum_ipv4(v4.header().source(), v4.header().destination()).unwrap()
        }
        NetSlice::Ipv6(v6) => {
            tcp.calc_checksum_ipv6(v6.header().source(), v6.header().destination()).unwrap()
        }
        NetSlice::Arp(_) => panic!("ARP"),
    };
    assert_eq!(tcp.checksum(), sum);
    assert!(tcp.payload().is_empty());
    tcp.to_header()
}

#[test]
fn resets_have_the_numbers_of_rfc_9293() {
    bench(|bench| {
        bench.arm_one(&rule("it", both(), reject(Answer::Auto)), 1);
        for (source, destination) in PAIRS {
            for flags in [SYN, SYN | ACK, ACK, FIN | ACK, FIN, 0] {
                for payload in [0, 1, 2, 700, 1400] {
                    for change in 0..3 {
                        let ports = (40_000, 443);
                        let mut sample = Sample::new(source, destination, Kind::Tcp(flags), ports);
                        sample.payload = vec![0xab; payload];
                        sample.sequence = [7, u32::MAX, 0x8000_0000][change];
                        sample.options = change == 1;
                        if change == 2 && source.contains(':') {
                            sample.extensions =
                                vec![Extension::HopByHop, Extension::Authentication];
                        }
                        for hook in HOOKS {
                            let tcp = reset(&answer(bench, hook, &sample));
                            assert_eq!((tcp.source_port, tcp.destination_port), (443, 40_000));
                            assert!(tcp.rst && !tcp.syn && !tcp.fin && !tcp.psh);
                            assert_eq!(tcp.ack, flags & ACK == 0, "{sample:?}");
                            // RFC 9293, 3.10.7.1: of its ACK, else 0 and everything it sent.
                            let (sequence, acknowledgement) = if flags & ACK != 0 {
                                (sample.acknowledgement, 0)
                            } else {
                                let controls =
                                    u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
                                let end = sample.sequence.wrapping_add(payload as u32);
                                (0, end.wrapping_add(controls))
                            };
                            let numbers = (tcp.sequence_number, tcp.acknowledgment_number);
                            assert_eq!(numbers, (sequence, acknowledgement), "{sample:?}");
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn unreachables_quote_the_packet() {
    // Type and code: RFC 792, RFC 1812; RFC 4443.
    let codes = |answer| match answer {
        Answer::Auto | Answer::PortUnreachable => ((3, 3), (1, 4)),
        Answer::HostUnreachable => ((3, 1), (1, 3)),
        Answer::NetUnreachable => ((3, 0), (1, 0)),
        Answer::AdminProhibited => ((3, 13), (1, 1)),
    };
    bench(|bench| {
        for kind in [Kind::Udp, Kind::Sctp, Kind::Gre, Kind::Echo, Kind::Tcp(ACK), Kind::Tcp(SYN)] {
            for wanted in ANSWERS {
                if wanted == Answer::Auto && matches!(kind, Kind::Tcp(_)) {
                    continue;
                }
                bench.arm_one(&rule("it", both(), reject(wanted)), 1);
                for (source, destination) in PAIRS {
                    for payload in [8, 23, 1400] {
                        let mut sample = Sample::new(source, destination, kind, (5, 6));
                        sample.payload = vec![0xab; payload];
                        for hook in HOOKS {
                            let bytes = answer(bench, hook, &sample);
                            check_unreachable(&bytes, &sample, codes(wanted));
                        }
                    }
                }
            }
        }
    });
}

fn check_unreachable(bytes: &[u8], sample: &Sample, codes: ((u8, u8), (u8, u8))) {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let (kind, sound, quote) = match (packet.net.unwrap(), packet.transport.unwrap()) {
        (NetSlice::Ipv4(_), TransportSlice::Icmpv4(icmp)) => {
            assert_eq!((icmp.type_u8(), icmp.code_u8()), codes.0);
            let header = Icmpv4Header::with_checksum(icmp.icmp_type(), icmp.payload());
            (4, header.checksum == icmp.checksum(), icmp.payload().to_vec())
        }
        (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            assert_eq!((icmp.type_u8(), icmp.code_u8()), codes.1);
            let header = ip.header();
            let sound = icmp.is_checksum_valid(header.source(), header.destination());
            (6, sound, icmp.payload().to_vec())
        }
        other => panic!("no ICMP: {other:?}"),
    };
    assert!(sound, "wrong checksum: {bytes:02x?}");
    assert_eq!(bytes[14 + if kind == 4 { 24 } else { 44 }..][..4], [0; 4], "the unused field");
    let original = &sample.bytes()[14..];
    assert!(quote.len() >= if kind == 4 { 28 } else { 48 });
    assert_eq!(quote, original[..quote.len()]);
}

#[test]
fn refusals_are_never_refused() {
    bench(|bench| {
        for wanted in ANSWERS {
            bench.arm_one(&rule("it", both(), reject(wanted)), 1);
            for (source, destination) in PAIRS {
                for kind in [Kind::Tcp(RST), Kind::Tcp(RST | ACK), Kind::IcmpError] {
                    let packet = Sample::new(source, destination, kind, (5, 6)).bytes();
                    for hook in HOOKS {
                        let before = bench.rule(0);
                        let outcome = bench.send(hook, bench.devices[0], &packet);
                        assert_eq!((outcome.code, outcome.bytes), (NEXT, packet.clone()));
                        let after = bench.rule(0);
                        assert_eq!(after.matched, before.matched + 1);
                        assert_eq!(after.acted, before.acted);
                    }
                }
            }
        }
    });
}

#[test]
fn what_cannot_be_answered_is_lost_and_counted() {
    let mut samples = vec![
        Sample::new("10.1.0.5", "224.0.0.251", Kind::Udp, (5353, 5353)),
        Sample::new("10.1.0.5", "255.255.255.255", Kind::Udp, (68, 67)),
        Sample::new("0.0.0.0", "10.2.0.9", Kind::Udp, (68, 67)),
        Sample::new("fd01::5", "ff02::fb", Kind::Udp, (5353, 5353)),
        Sample::new("::", "fd02::9", Kind::Udp, (5, 6)),
    ];
    for (source, destination) in PAIRS {
        let mut tagged = Sample::new(source, destination, Kind::Udp, (5, 6));
        tagged.tags = 1;
        samples.push(tagged);
        let mut later = Sample::new(source, destination, Kind::Udp, (5, 6));
        later.piece = crate::packets::Piece::Later;
        samples.push(later);
    }
    let mut options = Sample::new("10.1.0.5", "10.2.0.9", Kind::Udp, (5, 6));
    options.options = true;
    samples.push(options);
    let mut extended = Sample::new("fd01::5", "fd02::9", Kind::Udp, (5, 6));
    extended.extensions = vec![Extension::HopByHop];
    samples.push(extended);
    // A broadcast of the subnet is known by its hardware address alone.
    let mut broadcast = Sample::new("10.1.0.5", "10.2.0.255", Kind::Udp, (5, 6)).bytes();
    broadcast[..6].fill(0xff);
    let packets = samples.iter().map(|sample| {
        let unicast = sample.destination.to_string() != "255.255.255.255";
        assert!(!unicast || !answerable(sample, Answer::Auto), "{sample:?}");
        sample.bytes()
    });
    let packets: Vec<_> = packets.chain([broadcast]).collect();
    bench(|bench| {
        bench.arm_one(&rule("it", both(), reject(Answer::Auto)), 1);
        for packet in packets {
            for (hook, code) in [(Hook::Egress, REDIRECT), (Hook::Ingress, SHOT)] {
                let before = (bench.rule(0).acted, bench.hook(hook).reject_failed);
                let outcome = bench.send(hook, bench.devices[0], &packet);
                let after = (bench.rule(0).acted, bench.hook(hook).reject_failed);
                assert_eq!(after, (before.0 + 1, before.1 + 1), "{packet:02x?}");
                assert_eq!((outcome.code, &outcome.bytes), (code, &packet));
            }
        }
    });
}

#[test]
fn on_loopback_the_segment_becomes_the_reset() {
    bench(|bench| {
        bench.arm_one(&rule("it", both(), reject(Answer::Auto)), 1);
        for (source, destination) in [("127.0.0.1", "127.0.0.2"), ("::1", "::1")] {
            let sample = Sample::new(source, destination, Kind::Tcp(ACK), (5, 6));
            let original = sample.bytes();
            let outcome = bench.send(Hook::Egress, LOOPBACK, &original);
            assert_eq!((outcome.code, outcome.bytes.len()), (NEXT, original.len()));
            let packet = SlicedPacket::from_ethernet(&outcome.bytes).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
            assert!(tcp.rst() && tcp.ack() && !tcp.syn() && !tcp.fin());
            assert_eq!(tcp.sequence_number(), sample.sequence);
            let sum = match packet.net.unwrap() {
                NetSlice::Ipv4(v4) => {
                    tcp.calc_checksum_ipv4(v4.header().source(), v4.header().destination())
                }
                NetSlice::Ipv6(v6) => {
                    tcp.calc_checksum_ipv6(v6.header().source(), v6.header().destination())
                }
                NetSlice::Arp(_) => panic!("ARP"),
            };
            assert_eq!(tcp.checksum(), sum.unwrap());
            for kind in [Kind::Tcp(SYN), Kind::Udp] {
                let packet = Sample::new(source, destination, kind, (5, 6)).bytes();
                assert_eq!(bench.send(Hook::Egress, LOOPBACK, &packet).code, REDIRECT);
                assert_eq!(bench.send(Hook::Ingress, LOOPBACK, &packet).code, SHOT);
            }
        }
    });
}
