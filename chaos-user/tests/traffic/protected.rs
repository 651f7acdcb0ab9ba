//! Nobody is locked out: what stays reachable while everything else is lost.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaos::experiment::units::{Direction, Protocol};
use chaos::fault::{Harm, LockedOut, Session, check_device, protection, ways_in};
use chaos::host::{Cgroups, SshSession};
use chaos::kernel::netlink::Netlink;
use chaos::plan::{Action, Errno, Loss, Protect, Reject, Selector};

use crate::net::{datagrams, ip, round_trip, to_port};
use crate::support::{NEAR, Pair, isolated};

const LONG: Duration = Duration::from_secs(20);

/// `chaos inject`, killed when dropped.
struct Injecting(Child);

impl Injecting {
    fn start(pair: &Pair, ssh: &SshSession, arguments: &[&str]) -> Self {
        let SshSession { client, server } = ssh;
        let connection = format!("{} {} {} {}", client.0, client.1, server.0, server.1);
        let child = Command::new(env!("CARGO_BIN_EXE_chaos"))
            .arg("inject")
            .args(arguments)
            .arg("--netns")
            .arg(pair.near.path())
            .env("SSH_CONNECTION", connection)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Injecting {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn wait_until_lost(from: &UdpSocket, to: &UdpSocket) {
    let until = Instant::now() + 6 * LONG;
    while datagrams(from, to, 1) > 0 {
        assert!(Instant::now() < until, "the fault did not come into force");
    }
}

#[test]
fn ssh_dns_and_metadata_go_on_while_everything_else_is_lost() {
    isolated("protected::ssh_dns_and_metadata_go_on_while_everything_else_is_lost", || {
        let pair = Pair::new();
        for (netns, device, address) in
            [(&pair.near, NEAR, "169.254.0.1/16"), (&pair.far, "far", "169.254.169.254/16")]
        {
            netns
                .block_on(|| async move {
                    let netlink = Netlink::open().unwrap();
                    let link = netlink.link(device).await.unwrap();
                    netlink.add_address(&link, address.parse().unwrap()).await.unwrap();
                })
                .unwrap();
        }
        let near = ip("10.77.0.1");
        let sshd = pair.near.run(|| TcpListener::bind((near, 0))).unwrap().unwrap();
        let server = sshd.local_addr().unwrap();
        let echo = std::thread::spawn(move || {
            for stream in sshd.incoming().take(2) {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut stream, &mut writer);
                });
            }
        });
        let connect = || pair.far.run(|| std::net::TcpStream::connect_timeout(&server, LONG));
        let mut session = connect().unwrap().unwrap();
        let client = session.local_addr().unwrap();
        let ssh = SshSession {
            client: (client.ip(), client.port()),
            server: (server.ip(), server.port()),
        };
        let far_at = |address: &str, port| {
            pair.far.run(|| UdpSocket::bind((ip(address), port))).unwrap().unwrap()
        };
        let (here, other) = (pair.near_socket("10.77.0.1"), pair.far_socket("10.77.0.2"));
        let link_local = pair.near_socket("169.254.0.1");
        let (dns, metadata) = (far_at("10.77.0.2", 53), far_at("169.254.169.254", 80));
        assert_eq!(datagrams(&here, &other, 5), 5);

        let all = ["drop", "--direction", "both", "--for", "10m"];
        let protecting = [&all[..], &["--protect", "dns", "--protect", "metadata"]].concat();
        let fault = Injecting::start(&pair, &ssh, &protecting);
        wait_until_lost(&here, &other);
        assert_eq!(datagrams(&other, &here, 5), 0, "arriving packets are lost, too");
        round_trip(&mut session, 300_000, LONG).unwrap();
        let mut again = connect().unwrap().expect("the operator can come back");
        round_trip(&mut again, 1000, LONG).unwrap();
        assert_eq!(datagrams(&here, &dns, 20), 20);
        assert_eq!(datagrams(&link_local, &metadata, 20), 20);
        drop(fault);

        // Not asked for, not exempt.
        let fault = Injecting::start(&pair, &ssh, &all);
        wait_until_lost(&here, &other);
        assert_eq!(datagrams(&here, &dns, 20) + datagrams(&link_local, &metadata, 20), 0);
        round_trip(&mut session, 1000, LONG).unwrap();
        drop(fault);
        echo.join().unwrap();
    });
}

#[test]
fn the_gateways_neighbour_entry_is_made_while_everything_is_lost() {
    isolated("protected::the_gateways_neighbour_entry_is_made_while_everything_is_lost", || {
        let pair = Pair::new();
        pair.near
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                let link = netlink.link(NEAR).await.unwrap();
                let all = "0.0.0.0/0".parse().unwrap();
                netlink.add_route(all, ip("10.77.0.2"), &link).await.unwrap();
            })
            .unwrap();
        let resolved = || {
            let table = pair.near.run(|| std::fs::read_to_string("/proc/thread-self/net/arp"));
            let table = table.unwrap().unwrap();
            table.lines().any(|line| line.starts_with("10.77.0.2 ") && line.contains(" 0x2 "))
        };
        assert!(!resolved(), "nothing was sent yet");
        let selector = Selector { direction: Direction::Both, ..Selector::default() };
        let fault = pair.fault(selector, Action::Drop(Loss::Always));
        let active = Session::start("gateway", &[fault]).unwrap();
        let socket = pair.near_socket("10.77.0.1");
        let until = Instant::now() + LONG;
        while !resolved() {
            assert!(Instant::now() < until, "the gateway was not found");
            socket.send_to(b"?", "192.0.2.1:9").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(active.heal().unwrap()[0].is_proof());
    });
}

#[test]
fn a_protected_destination_can_be_connected_to_while_connecting_is_refused() {
    const NAME: &str =
        "protected::a_protected_destination_can_be_connected_to_while_connecting_is_refused";
    isolated(NAME, || {
        if Cgroups::find().is_err() {
            println!("CHAOS-SKIP {NAME} cgroup2");
            return;
        }
        let pair = Pair::new();
        let (spared, hit) = (pair.echo("10.77.0.2"), pair.echo("10.77.0.2"));
        let reject = Reject { errno: Some(Errno::CONNECTION_REFUSED), ..Reject::default() };
        let selector = Selector { protocol: Some(Protocol::TCP), ..Selector::default() };
        let mut fault = pair.fault(selector, Action::Reject(reject));
        let protect: Protect = format!("remote-port={},proto=tcp", spared.port()).parse().unwrap();
        fault.rules.extend(protect.rules().iter().cloned());
        let active = Session::start("refused", &[fault]).unwrap();
        assert_eq!(pair.connect(hit, LONG).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        round_trip(&mut pair.connect(spared, LONG).unwrap(), 1000, LONG).unwrap();
        assert!(active.heal().unwrap()[0].is_proof());
    });
}

#[test]
fn a_way_in_is_found_and_kept() {
    isolated("protected::a_way_in_is_found_and_kept", || {
        let pair = Pair::new();
        let session = |client: &str, server: &str| SshSession {
            client: (ip(client), 50_000),
            server: (ip(server), 22),
        };
        for ((far, near), unreachable) in
            crate::net::FAMILIES.into_iter().zip(["192.0.2.1", "2001:db8::1"])
        {
            let ways = ways_in(&pair.near, &[session(far, near)]).unwrap();
            assert_eq!(ways[0].devices, [NEAR]);
            assert!(matches!(
                check_device(&ways, NEAR, &Harm::TOTAL),
                Err(LockedOut::Device { client, .. }) if client == ip(far)
            ));
            check_device(&ways, "lo", &Harm::TOTAL).unwrap();
            // The session ends in another namespace, or nothing is known of a way to it.
            assert_eq!(ways_in(&pair.near, &[session(far, far)]).unwrap(), []);
            assert_eq!(ways_in(&pair.near, &[session(unreachable, near)]).unwrap(), []);
            let rules = protection(&[session(far, near)]);
            assert_eq!(rules[0].selector.local_ports, to_port(Direction::To, 22).remote_ports);
        }
        // Through a bridge: its ports carry the session.
        pair.near
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                netlink.add_bridge("br0").await.unwrap();
                let bridge = netlink.link("br0").await.unwrap();
                let near = netlink.link(NEAR).await.unwrap();
                netlink.delete_address(&near, "10.77.0.1/24".parse().unwrap()).await.unwrap();
                netlink.add_address(&bridge, "10.77.0.1/24".parse().unwrap()).await.unwrap();
                netlink.set_master(&near, &bridge).await.unwrap();
            })
            .unwrap();
        let ways = ways_in(&pair.near, &[session("10.77.0.2", "10.77.0.1")]).unwrap();
        assert_eq!(ways[0].devices, [NEAR, "br0"]);
    });
}
