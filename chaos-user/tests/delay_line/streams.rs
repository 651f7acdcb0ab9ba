//! TCP through the line: every byte, with and without segmentation offload.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use chaos::kernel::delay_line::{Config, Counters, Segmentation};
use chaos::kernel::netns::NetNs;
use chaos_common::decide::mix;

use crate::bed::{ANY, Bed, Direction, Family, NEAR, latency, slot, slowness, snmp};

const PORT: u16 = 7100;

/// What a stream carries.
fn words() -> u64 {
    (2 << 20) / u64::from(slowness().min(4))
}

/// Sends words that the receiver can recompute; answers how long it took.
fn transfer(from: &NetNs, to: &NetNs, at: SocketAddr, words: u64) -> Duration {
    let listener = to.run(|| TcpListener::bind(at).unwrap()).unwrap();
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut buffer, mut filled, mut word) = (vec![0; 1 << 18], 0, 0);
        loop {
            let length = stream.read(&mut buffer[filled..]).unwrap();
            filled += length;
            let whole = filled / 8 * 8;
            for bytes in buffer[..whole].chunks_exact(8) {
                assert_eq!(bytes, mix(1, word).to_le_bytes(), "word {word}");
                word += 1;
            }
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
            if length == 0 {
                stream.write_all(b"!").unwrap();
                return word;
            }
        }
    });
    let started = Instant::now();
    let bytes: Vec<u8> = (0..words).flat_map(|word| mix(1, word).to_le_bytes()).collect();
    let mut stream = from.run(|| TcpStream::connect(at).unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(receiver.join().unwrap(), words);
    started.elapsed()
}

fn stream(config: &Config, direction: Direction, family: Family) -> Counters {
    let mut bed = Bed::new(config);
    bed.catch(NEAR, direction);
    bed.divert(PORT.into(), slot(1), NEAR, direction, latency(1.0));
    // Data leaves at egress, or arrives at ingress.
    let at = |ip| SocketAddr::new(ip, PORT);
    match direction {
        Direction::Egress => transfer(&bed.near, &bed.far, at(family.far()), words()),
        Direction::Ingress => transfer(&bed.far, &bed.near, at(family.near()), words()),
    };
    for netns in [&bed.near, &bed.far] {
        assert_eq!(snmp(netns, "Tcp", "InCsumErrors"), 0);
        assert_eq!(snmp(netns, "Tcp", "InErrs"), 0);
    }
    let evidence = bed.line().evidence(slot(1)).unwrap().unwrap();
    assert_eq!(evidence.counters.refused, 0);
    assert!(evidence.counters.arrived_bytes > words() * 8);
    evidence.counters
}

#[test]
fn super_packets_pass_whole_in_both_directions_and_families() {
    for direction in [Direction::Egress, Direction::Ingress] {
        for family in [Family::V4, Family::V6] {
            let counters = stream(&Config::default(), direction, family);
            let average = counters.arrived_bytes / counters.arrived;
            assert!(average > 3_000, "{direction:?} {family:?}: {average} bytes per packet");
        }
    }
}

#[test]
fn without_offload_every_packet_is_one() {
    let config = Config { segmentation: Segmentation::PerPacket, ..Config::default() };
    for direction in [Direction::Egress, Direction::Ingress] {
        for family in [Family::V4, Family::V6] {
            let counters = stream(&config, direction, family);
            let average = counters.arrived_bytes / counters.arrived;
            assert!(average <= 1514, "{direction:?} {family:?}: {average} bytes per packet");
        }
    }
}

/// Its packets are up to 64 KiB even without offload.
#[test]
fn loopback_streams_pass() {
    for segmentation in [Segmentation::Offloaded, Segmentation::PerPacket] {
        let mut bed = Bed::new(&Config { segmentation, ..Config::default() });
        bed.catch("lo", Direction::Egress);
        bed.divert(PORT.into(), slot(1), "lo", Direction::Egress, latency(0.5));
        let at = SocketAddr::new(Family::V6.loopback(), PORT);
        transfer(&bed.near, &bed.near, at, words());
        let counters = bed.line().evidence(slot(1)).unwrap().unwrap().counters;
        assert!(counters.arrived_bytes > words() * 8, "{segmentation:?}: {counters:?}");
        assert_eq!((counters.dropped, counters.refused), (0, 0));
    }
}

#[test]
fn everything_of_a_device_can_be_held_neighbour_discovery_included() {
    let mut bed = Bed::new(&Config::default());
    bed.catch(NEAR, Direction::Egress);
    bed.divert(ANY, slot(1), NEAR, Direction::Egress, latency(2.0));
    for family in [Family::V4, Family::V6] {
        let at = SocketAddr::new(family.far(), PORT);
        let took = transfer(&bed.near, &bed.far, at, 1000);
        assert!(took > Duration::from_millis(4), "{took:?}");
    }
    assert_eq!(bed.line().status().unwrap().strays, 0);
}

#[test]
fn a_changed_mtu_does_not_hurt() {
    let mut bed = Bed::new(&Config::default());
    bed.catch(NEAR, Direction::Egress);
    bed.divert(PORT.into(), slot(1), NEAR, Direction::Egress, latency(0.2));
    for (mtu, family) in [(9000, Family::V4), (65_000, Family::V6), (1300, Family::V4)] {
        for (netns, device) in [(&bed.near, NEAR), (&bed.far, crate::bed::FAR)] {
            crate::bed::set_mtu(netns, device, mtu);
        }
        transfer(&bed.near, &bed.far, SocketAddr::new(family.far(), PORT), words() / 4);
    }
}
