//! The specification and the plan, without a kernel.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use super::placeholder::{Values, fill};
use super::*;

const MARKET: &str = r#"
name: marketplace
networks:
  market: { v4: 10.77.1.0/24, v6: "fd77:1::/64" }
nodes:
  server:
    networks: [market]
    processes:
      - name: server
        command: [marketplace, --data, "{data}"]
        env: { RUST_LOG: info }
        ready: { http: "http://server:8080/healthz", within: 5s }
        restart: on-failure
  buyer: { networks: [market] }
  vendor: { networks: { market: { v4: 10.77.1.2 } } }
"#;

const ROUTED: &str = "
name: routed
networks: { a: , b: , c: }
nodes:
  left: { networks: [a] }
  r1: { networks: [a, b], forward: true }
  r2: { networks: [b, c], forward: true }
  right: { networks: [c] }
";

fn parse(text: &str) -> LabSpec {
    LabSpec::parse(text, Path::new("lab.yaml")).unwrap()
}

fn refuse(text: &str) -> String {
    LabSpec::parse(text, Path::new("lab.yaml")).unwrap_err().to_string()
}

#[test]
fn the_example_reads_as_written() {
    let spec = parse(MARKET);
    assert_eq!(spec.name(), "marketplace");
    let server = &spec.nodes()[0].processes[0];
    assert_eq!(server.command, ["marketplace", "--data", "{data}"]);
    assert_eq!(server.env, [("RUST_LOG".to_owned(), "info".to_owned())]);
    assert_eq!(server.restart, Restart::OnFailure);
    let within = std::time::Duration::from_secs(5);
    assert_eq!(server.ready, Ready::Http { url: "http://server:8080/healthz".into(), within });
}

#[test]
fn addresses_follow_the_order_of_the_file_and_leave_out_what_is_taken() {
    let plan = LabPlan::new(&parse(MARKET));
    let v4: Vec<String> =
        plan.nodes.iter().map(|node| node.devices[0].v4.unwrap().to_string()).collect();
    assert_eq!(v4, ["10.77.1.1/24", "10.77.1.3/24", "10.77.1.2/24"]);
    let v6: Vec<String> =
        plan.nodes.iter().map(|node| node.devices[0].v6.unwrap().to_string()).collect();
    assert_eq!(v6, ["fd77:1::1/64", "fd77:1::2/64", "fd77:1::3/64"]);
}

#[test]
fn hosts_get_a_default_route_and_routers_get_exact_ones() {
    let spec = parse(ROUTED);
    let plan = LabPlan::new(&spec);
    let routes = |node: usize| -> Vec<String> {
        let node = &plan.nodes[node];
        let text = |route: &RoutePlan| {
            format!("{} via {} on {}", route.to, route.via, node.devices[route.device].name)
        };
        node.routes.iter().map(text).collect()
    };
    assert_eq!(routes(0), ["0.0.0.0/0 via 10.77.1.2 on eth0", "::/0 via fd77:1::2 on eth0"]);
    assert_eq!(
        routes(1),
        ["10.77.3.0/24 via 10.77.2.2 on eth1", "fd77:3::/64 via fd77:2::2 on eth1"]
    );
    assert_eq!(
        routes(2),
        ["10.77.1.0/24 via 10.77.2.1 on eth0", "fd77:1::/64 via fd77:2::1 on eth0"]
    );
    assert_eq!(routes(3), ["0.0.0.0/0 via 10.77.3.1 on eth0", "::/0 via fd77:3::1 on eth0"]);
    insta::assert_snapshot!(plan.hosts_file(&spec, 0), @r"
    127.0.0.1 localhost
    ::1 localhost
    10.77.1.1 left left.a
    fd77:1::1 left left.a
    10.77.1.2 r1 r1.a
    fd77:1::2 r1 r1.a
    10.77.2.1 r1 r1.b
    fd77:2::1 r1 r1.b
    10.77.2.2 r2 r2.b
    fd77:2::2 r2 r2.b
    10.77.3.1 r2 r2.c
    fd77:3::1 r2 r2.c
    10.77.3.2 right right.c
    fd77:3::2 right right.c
    ");
}

#[test]
fn a_node_that_forwards_nothing_for_others_is_no_way() {
    let spec = parse(
        "{name: l, networks: {a: , b: }, nodes: {x: {networks: [a]}, both: {networks: [a, b]}, y: {networks: [b]}}}",
    );
    let plan = LabPlan::new(&spec);
    assert!(plan.nodes.iter().all(|node| node.routes.is_empty()));
    assert_eq!(plan.addresses_for(0, 2), Vec::<IpAddr>::new());
    assert_eq!(plan.addresses_for(0, 1).len(), 2, "only the side that x can reach");
}

#[test]
fn every_mistake_has_its_place_and_a_way_out() {
    let node = "nodes: { n: { networks: [a] } }";
    let cases: &[(&str, &str)] = &[
        ("name: l\nnodes: {}", "lab.yaml:1:7: a lab needs at least one node"),
        ("name: L\nnodes: {n: }", "lab.yaml:1:7: lab name \"L\" must be 1 to 63"),
        ("name: l\nnode: {n: }", "lab.yaml:2:1: unknown field \"node\"; did you mean \"nodes\"?"),
        (
            "name: l\nnodes:\n  n: { netwroks: [a] }",
            "lab.yaml:3:8: unknown field \"netwroks\"; did you mean \"networks\"?",
        ),
        ("name: l\nnodes:\n  localhost: {}", "lab.yaml:3:3: \"localhost\" means this host"),
        (
            "name: l\nnetworks: {market: }\nnodes:\n  n: { networks: [markt] }",
            "lab.yaml:4:19: there is no network \"markt\"; did you mean \"market\"?",
        ),
        (
            "name: l\nnetworks: {a: }\nnodes:\n  n: { networks: [a, a] }",
            "lab.yaml:4:22: there is already a network named \"a\"",
        ),
        (
            "name: l\nnetworks: {a: }\nnodes:\n  n: { networks: [a], forward: true }",
            "lab.yaml:4:3: node \"n\" forwards but",
        ),
        (
            "name: l\nnetworks:\n  a: { v4: 10.0.0.1/24 }\nnodes: {n: }",
            "lab.yaml:3:12: 10.0.0.1/24 has bits set after its prefix length; write 10.0.0.0/24",
        ),
        (
            "name: l\nnetworks:\n  a: { v4: 10.0.0.0 }\nnodes: {n: }",
            "lab.yaml:3:12: \"10.0.0.0\" is not an IPv4 prefix",
        ),
        ("name: l\nnetworks:\n  a: { v4: 127.0.0.0/16 }\nnodes: {n: }", "is loopback"),
        (
            "name: l\nnetworks:\n  a: { v4: 10.0.0.0/31 }\nnodes: {n: }",
            "a prefix length from 8 to 30",
        ),
        ("name: l\nnetworks:\n  a: { v6: 'ff02::/64' }\nnodes: {n: }", "is multicast"),
        (
            "name: l\nnetworks:\n  a: { v4: 10.0.0.0/8 }\n  b: { v4: 10.1.0.0/16 }\nnodes: {n: }",
            "lab.yaml:4:12: 10.1.0.0/16 overlaps with 10.0.0.0/8 of network \"a\"",
        ),
        (
            "name: l\nnetworks: { a: { v4: 10.0.0.0/30 } }\nnodes: {x: {networks: [a]}, y: {networks: [a]}, z: {networks: [a]}}",
            "lab.yaml:2:13: network \"a\" (10.0.0.0/30) has too few addresses for its 3 nodes",
        ),
        (
            "name: l\nnetworks: { a: { v4: 10.0.0.0/24 } }\nnodes: {x: {networks: {a: {v4: 10.0.1.1}}}}",
            "10.0.1.1 is not an address that a host of network \"a\" (10.0.0.0/24) can have",
        ),
        (
            "name: l\nnetworks: { a: { v4: 10.0.0.0/24 } }\nnodes:\n  x: {networks: {a: {v4: 10.0.0.9}}}\n  y: {networks: {a: {v4: 10.0.0.9}}}",
            "lab.yaml:5:3: 10.0.0.9 is already the address of node \"x\"",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [] }",
            "lab.yaml:5:29: the command of process \"p\" is empty",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], disk: 16 }",
            "lab.yaml:5:40: `16` is not a size: it has no unit; did you mean `16B` or `16MiB`?",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], disk: 2GiB }",
            "lab.yaml:5:40: a disk has from 64KiB to 1GiB, not 2GiB",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x, '{dat}'] }",
            "lab.yaml:5:33: unknown placeholder {dat}; known are {data}, {lab}",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x, '{data'] }",
            "has a brace without its partner",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x, '{v4}'] }",
            "node \"n\" has no IPv4 address for {v4}",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], ready: { tcp: 'm:80' } }",
            "\"m\" is neither an address nor a node",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], ready: { tcp: 'n' } }",
            "\"n\" is not host:port",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], ready: { http: 'https://n/' } }",
            "is not a URL such as http://",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], ready: { within: 3s } }",
            "exactly one of http and tcp",
        ),
        (
            "name: l\nnodes:\n  n:\n    processes:\n      - { name: p, command: [x], ready: { tcp: 'n:1', within: 3h } }",
            "\"3h\" is not a duration",
        ),
        ("name: l\nnodes: [", "lab.yaml:2:"),
        ("name: l\nnodes: {n: , n: }", "lab.yaml:2:14: "),
    ];
    for (text, expected) in cases {
        let error = refuse(text);
        assert!(error.contains(expected), "{text}\n  gave {error}\n  not  {expected}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
    assert!(LabSpec::parse(&format!("name: l\nnetworks: {{a: }}\n{node}"), Path::new("x")).is_ok());
}

#[test]
fn placeholders_are_filled_and_braces_survive() {
    let values = Values {
        data: "/d".into(),
        lab: "l".into(),
        node: "n".into(),
        v4: Some("10.0.0.1".into()),
        v6: None,
    };
    assert_eq!(fill("{data}/x-{lab}-{node}@{v4}{{}}", &values).unwrap(), "/d/x-l-n@10.0.0.1{}");
    assert!(fill("}", &values).is_err());
    assert!(fill("{v6}", &values).is_err());
}

/// A lab of `networks` networks where bit `n` of a node's mask puts it on network `n`.
fn any_lab(networks: usize, nodes: &[(u8, bool)]) -> String {
    let names: Vec<String> = (0..networks).map(|n| format!("net{n}")).collect();
    let mut text = String::from("name: any\nnetworks:\n");
    for name in &names {
        writeln!(text, "  {name}:").unwrap();
    }
    text.push_str("nodes:\n");
    for (at, (mask, forward)) in nodes.iter().enumerate() {
        let on: Vec<&str> =
            (0..networks).filter(|n| mask >> n & 1 == 1).map(|n| names[n].as_str()).collect();
        let forward = *forward && on.len() > 1;
        writeln!(text, "  n{at}: {{ networks: [{}], forward: {forward} }}", on.join(", ")).unwrap();
    }
    text
}

/// Follows the planned routes as the kernel would, hop by hop.
fn walk(plan: &LabPlan, from: usize, to: IpAddr) -> Option<usize> {
    let mut at = from;
    for hops in 0..64 {
        let node = &plan.nodes[at];
        let own = |node: usize, address: IpAddr| {
            plan.nodes[node]
                .devices
                .iter()
                .flat_map(DevicePlan::addresses)
                .any(|own| own.addr() == address)
        };
        if own(at, to) {
            return Some(hops);
        }
        let direct =
            node.devices.iter().flat_map(DevicePlan::addresses).any(|own| own.contains(&to));
        let next = if direct {
            to
        } else {
            node.routes
                .iter()
                .filter(|route| route.to.contains(&to))
                .max_by_key(|route| route.to.prefix_len())?
                .via
        };
        at = (0..plan.nodes.len()).find(|node| own(*node, next))?;
    }
    panic!("a routing loop from {from} to {to}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = LabSpec::parse(&text, Path::new("x"));
    }

    #[test]
    fn no_placeholder_text_panics(text in "[{}a-z46é]{0,30}") {
        let _ = fill(&text, &Values::default());
    }

    #[test]
    fn plans_are_deterministic_addresses_unique_and_routes_lead_home(
        networks in 1_usize..6,
        nodes in prop::collection::vec((any::<u8>(), any::<bool>()), 1..12),
    ) {
        let spec = parse(&any_lab(networks, &nodes));
        let plan = LabPlan::new(&spec);
        prop_assert_eq!(&plan, &LabPlan::new(&spec));
        let mut seen = HashSet::new();
        for device in plan.nodes.iter().flat_map(|node| &node.devices) {
            for address in device.addresses() {
                prop_assert!(seen.insert(address.addr()), "{} twice", address);
                let network = &spec.networks()[device.network];
                let fits = match address {
                    ipnet::IpNet::V4(v4) => network.v4.unwrap().contains(&v4.addr()),
                    ipnet::IpNet::V6(v6) => network.v6.unwrap().contains(&v6.addr()),
                };
                prop_assert!(fits);
            }
        }
        for from in 0..plan.nodes.len() {
            for to in 0..plan.nodes.len() {
                for address in plan.addresses_for(from, to) {
                    prop_assert!(walk(&plan, from, address).is_some(), "{} to {}", from, address);
                }
            }
        }
    }
}
