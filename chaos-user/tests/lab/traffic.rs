//! Packets go where the plan says.

use std::fmt::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;

use crate::slowness::slowness;
use crate::support::{alone, exchange, up};

const FLAT: &str = "{name: flat, networks: {net: }, nodes: {a: {networks: [net]}, b: {networks: [net]}, c: {networks: [net]}}}";

#[test]
fn nodes_of_one_network_talk_at_once_in_both_families() {
    let _alone = alone();
    let (lab, _folder) = up(FLAT);
    for from in lab.nodes() {
        for to in lab.nodes() {
            let addresses = lab.resolve(from.name(), to.name()).unwrap();
            assert_eq!(addresses.len(), 2);
            for address in addresses {
                exchange(from.netns(), to.netns(), address);
            }
        }
    }
}

#[test]
fn no_address_is_tentative_and_no_device_is_the_hosts() {
    let _alone = alone();
    let (lab, _folder) = up(FLAT);
    let host = NetNs::current().unwrap();
    for node in lab.nodes() {
        assert_ne!(node.netns(), &host);
        let addresses =
            node.netns().block_on(|| async { Netlink::open().unwrap().addresses().await });
        let addresses = addresses.unwrap().unwrap();
        assert!(addresses.iter().all(|address| !address.tentative), "{addresses:?}");
        let device = node.device_on("net").unwrap();
        let own = addresses.iter().filter(|address| address.index == device.index);
        assert_eq!(own.count(), 3, "v4, v6 and link-local");
    }
}

#[test]
fn routed_networks_reach_each_other_over_two_routers_and_back() {
    let _alone = alone();
    let (lab, _folder) = up("
name: routed
networks: { a: , b: { v4: 192.168.7.0/30, v6: 'fd00:7::/126' }, c: }
nodes:
  left: { networks: [a] }
  r1: { networks: [a, b], forward: true }
  r2: { networks: [b, c], forward: true }
  right: { networks: [c] }
");
    for (from, to) in [("left", "right"), ("right", "left"), ("left", "r2"), ("r1", "right")] {
        for address in lab.resolve(from, to).unwrap() {
            exchange(lab.node(from).unwrap().netns(), lab.node(to).unwrap().netns(), address);
        }
    }
    assert_eq!(lab.resolve("left", "r2").unwrap().len(), 4);
    assert_eq!(lab.hosts()["right"].len(), 2);
}

#[test]
fn networks_without_a_router_stay_apart() {
    let _alone = alone();
    let (lab, _folder) = up(
        "{name: apart, networks: {a: , b: }, nodes: {x: {networks: [a]}, both: {networks: [a, b]}, y: {networks: [b]}, z: }}",
    );
    assert!(lab.resolve("x", "y").unwrap().is_empty());
    let y = lab.hosts()["y"][0];
    let x = lab.node("x").unwrap().netns();
    let refused = x.run(|| TcpStream::connect((y, 9)).unwrap_err().kind()).unwrap();
    assert_eq!(refused, std::io::ErrorKind::NetworkUnreachable);
}

#[test]
fn two_labs_with_the_same_addresses_do_not_meet() {
    let _alone = alone();
    let (one, _one) = up(FLAT);
    let (two, _two) = up(FLAT);
    assert_eq!(one.hosts(), two.hosts());
    for lab in [&one, &two] {
        let address = lab.hosts()["b"][0];
        exchange(lab.node("a").unwrap().netns(), lab.node("b").unwrap().netns(), address);
    }
    let listener = one.node("b").unwrap().netns().run(|| std::net::TcpListener::bind("0.0.0.0:77"));
    let _listener = listener.unwrap().unwrap();
    let at = (one.hosts()["b"][0], 77).to_socket_addrs().unwrap().next().unwrap();
    let connect = |lab: &chaos::lab::Lab| {
        let a = lab.node("a").unwrap().netns();
        a.run(|| TcpStream::connect_timeout(&at, Duration::from_secs(2)).is_ok()).unwrap()
    };
    assert!(connect(&one));
    assert!(!connect(&two));
}

#[test]
fn twenty_nodes_are_up_in_seconds() {
    let _alone = alone();
    let mut text = String::from("name: many\nnetworks: {net: }\nnodes:\n");
    for n in 0..20 {
        writeln!(text, "  n{n}: {{networks: [net]}}").unwrap();
    }
    let begin = Instant::now();
    let (lab, _folder) = up(&text);
    let took = begin.elapsed();
    exchange(lab.nodes()[0].netns(), lab.nodes()[19].netns(), lab.hosts()["n19"][1]);
    let begin = Instant::now();
    lab.down();
    println!("20 nodes: up in {took:?}, down in {:?}", begin.elapsed());
    // Emulated processors are given what they need; the runner says how slow they are.
    assert!(took < Duration::from_secs(10) * slowness(), "{took:?}");
}
