//! The programs for devices without link-layer headers.
//!
//! A test run always believes in an Ethernet header and takes the ethertype from bytes 12 and 13.
//! Where those are part of the source address, a bare IP packet can say the right thing there.

use chaos::plan::{Answer, Selector};
use etherparse::SlicedPacket;

use crate::bench::bench;
use crate::oracle::{NEXT, REDIRECT, SHOT};
use crate::packets::{ACK, Kind, Sample};
use crate::rules::{DROP, both, ports, read, reject, rule};

fn bare(kind: Kind) -> [Vec<u8>; 2] {
    [("8.0.0.1", "10.0.0.2"), ("fd00:0:86dd::1", "fd00::2")].map(|(source, destination)| {
        Sample::new(source, destination, kind, (5000, 80)).bytes().split_off(14)
    })
}

#[test]
fn bare_packets_are_classified() {
    bench(|bench| {
        let device = bench.devices[0];
        for (remote_ports, hit) in [(80, true), (81, false)] {
            let remote = vec![read("10.0.0.0/8"), read("fd00::/64")];
            let remote_ports = vec![ports(remote_ports, remote_ports)];
            bench.arm_one(&rule("it", Selector { remote, remote_ports, ..both() }, DROP), 1);
            for packet in bare(Kind::Udp) {
                let outcome = bench.send_through("chaos_egress_l3", device, &packet).unwrap();
                assert_eq!(outcome.code, if hit { REDIRECT } else { NEXT });
                let outcome = bench.send_through("chaos_ingress_l3", device, &packet).unwrap();
                assert_eq!(outcome.code, NEXT, "the remote end is the source there");
            }
        }
        bench.arm_one(&rule("it", both(), DROP), 1);
        for packet in bare(Kind::Udp) {
            let outcome = bench.send_through("chaos_ingress_l3", device, &packet).unwrap();
            assert_eq!(outcome.code, SHOT);
        }
    });
}

#[test]
fn bare_packets_are_answered_with_bare_packets() {
    bench(|bench| {
        let device = bench.devices[0];
        bench.arm_one(&rule("it", both(), reject(Answer::Auto)), 1);
        for kind in [Kind::Tcp(ACK), Kind::Udp] {
            for packet in bare(kind) {
                let outcome = bench.send_through("chaos_egress_l3", device, &packet).unwrap();
                assert_eq!(outcome.code, REDIRECT);
                let answer = SlicedPacket::from_ip(&outcome.bytes).unwrap();
                assert!(answer.transport.is_some(), "{answer:?}");
            }
        }
    });
}
