//! What happens to packets that are held when things go wrong around them: they pass, the run says
//! what happened, and nothing is left.

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::held::{has_netem, surroundings};
use super::stopped::StoppedThread;
use super::{Place, finish, lease, outcome, signal};

/// Longer than a lease and whatever a busy machine adds; what is awaited takes about a second.
const PATIENCE: Duration = Duration::from_mins(1);

fn wait_until(or_else: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{or_else}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a fault that holds datagrams to a port, until it is interrupted.
fn hold(place: &Place, latency: &str, port: u16, backend: &str) -> Child {
    let port = port.to_string();
    let what = ["delay", "--latency", latency, "--proto", "udp", "--remote-port", &port];
    place.start(&[&what[..], &["--backend", backend, "--for", "600s", "--json"]].concat())
}

/// Ends a fault politely; what it printed.
fn interrupt(child: Child) -> Value {
    signal(&child, Signal::SIGINT);
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Remarks of a result that contain this.
fn remarks(result: &Value, with: &str) -> usize {
    let all = result["remarks"].as_array().unwrap();
    all.iter().filter(|one| one.as_str().unwrap().contains(with)).count()
}

/// How long a datagram of so many bytes takes over the loopback.
fn takes(place: &Place, port: u16, bytes: usize) -> Duration {
    place
        .netns
        .run(|| {
            let receiver = UdpSocket::bind(("127.0.0.1", port)).unwrap();
            receiver.set_read_timeout(Some(PATIENCE)).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let sent = Instant::now();
            sender.send_to(&vec![7; bytes], ("127.0.0.1", port)).unwrap();
            assert_eq!(receiver.recv(&mut vec![0; bytes + 1]).unwrap(), bytes);
            sent.elapsed()
        })
        .unwrap()
}

pub(super) fn set_mtu(netns: &NetNs, device: &str, mtu: u32) {
    netns
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            netlink.set_mtu(&netlink.link(device).await.unwrap(), mtu).await.unwrap();
        })
        .unwrap();
}

/// A pair of devices in the place's namespace; packets that leave one of them need no neighbour.
fn make_pair(place: &Place) -> u32 {
    place
        .netns
        .block_on(|| async {
            let (netlink, here) = (Netlink::open().unwrap(), NetNs::current().unwrap());
            netlink.add_veth(("one", 20), ("other", 21), &here).await.unwrap();
            for name in ["one", "other"] {
                // Its address is usable at once.
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0").unwrap();
                netlink.set_up(&netlink.link(name).await.unwrap()).await.unwrap();
            }
            Netlink::wait_running(&["one", "other"], PATIENCE).await.unwrap();
            netlink.link("one").await.unwrap().index
        })
        .unwrap()
}

fn delete(place: &Place, device: &str) {
    place
        .netns
        .block_on(|| async {
            let netlink = Netlink::open().unwrap();
            netlink.delete_link(&netlink.link(device).await.unwrap()).await.unwrap();
        })
        .unwrap();
}

/// The devices' limits change, and then one of the devices is gone, while packets are held.
fn changed_and_gone(backend: &str) {
    const HELD: Duration = Duration::from_millis(60);
    const PORT: u16 = 7500;
    let place = Place::new();
    set_mtu(&place.netns, "lo", 1500);
    let before = surroundings(&place);
    let one = make_pair(&place);
    let child = hold(&place, "60ms", PORT, backend);
    for (mtu, bytes) in [(9000, 8000), (1400, 1000), (65_536, 60_000)] {
        set_mtu(&place.netns, "lo", mtu);
        assert!(takes(&place, PORT, bytes) >= HELD, "mtu {mtu}, {bytes} bytes: not held");
    }
    let everybody = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), PORT, 0, one);
    let acted = || {
        let status = place.status();
        status["runs"][0]["faults"][0]["evidence"][0]["acted"].as_u64().unwrap()
    };
    let so_far = acted();
    place
        .netns
        .run(|| {
            let sender = UdpSocket::bind("[::]:0").unwrap();
            wait_until("no packet left the device", || {
                // Until the device has an address, there is none to send from.
                let _ = sender.send_to(b"x", everybody);
                acted() > so_far
            });
        })
        .unwrap();
    delete(&place, "one");
    // Longer than it takes to notice.
    thread::sleep(Duration::from_millis(300));
    assert!(takes(&place, PORT, 1000) >= HELD, "the other device's packets are held as before");
    let result = interrupt(child);
    assert_eq!(remarks(&result, "could not be held"), 0, "{result}");
    assert!(result["delays"][0]["packets"].as_u64().unwrap() >= 4, "{result}");
    assert_eq!(surroundings(&place), before, "all is as before, and the device is gone");
    assert!(takes(&place, PORT, 1000) < HELD);
    assert!(place.status()["runs"].as_array().unwrap().is_empty());
}

#[test]
fn the_delay_line_outlives_changes_of_devices() {
    changed_and_gone("delay-line");
}

#[test]
fn the_netem_detour_outlives_changes_of_devices() {
    if !has_netem() {
        println!("CHAOS-SKIP the_netem_detour_outlives_changes_of_devices netem");
        return;
    }
    changed_and_gone("netem");
}

#[test]
fn packets_pass_a_stalled_thread_within_a_lease_and_it_keeps_nobody_waiting() {
    const PORT: u16 = 7510;
    let place = Place::new();
    let before = surroundings(&place);
    let child = hold(&place, "500s", PORT, "delay-line");
    assert_eq!(place.datagrams(PORT, 3), 0, "they are held");
    let stopped = StoppedThread::of(child.id(), "chaos-delay");
    let since = Instant::now();
    wait_until("packets do not pass", || place.datagrams(PORT, 1) == 1);
    assert!(since.elapsed() < lease(), "{:?}", since.elapsed());
    assert_eq!(place.datagrams(PORT, 20), 20, "all pass");
    drop(stopped);
    wait_until("packets are not held again", || place.datagrams(PORT, 1) == 0);
    let mut stopped = StoppedThread::of(child.id(), "chaos-delay");
    signal(&child, Signal::SIGINT);
    // The rest of the process cannot end before whoever stopped the thread has seen it end.
    wait_until("the run waits for its thread", || stopped.has_ended());
    let (code, text) = finish(child);
    assert_eq!(code, 3, "{text}");
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(remarks(&result, "could not be held and passed"), 1, "{text}");
    assert_eq!(remarks(&result, "thread did not answer"), 1, "{text}");
    // A device goes with the last file that is open of it.
    wait_until("something is left", || surroundings(&place) == before);
    assert_eq!(place.datagrams(PORT, 5), 5);
    assert!(place.status()["runs"].as_array().unwrap().is_empty());
}

/// Tries to hold packets where `/dev/net` is what `change` makes of it, for this process alone.
fn refused(place: &Place, change: impl FnOnce() + Send) -> [Output; 2] {
    thread::scope(|scope| {
        let refused = scope.spawn(|| {
            // Of this thread, and of the processes that it starts.
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).unwrap();
            change();
            let what = ["delay", "--latency", "60ms", "--backend", "delay-line", "--for", "1s"];
            // A dry run says the same.
            [&[][..], &["--dry-run"]]
                .map(|dry| place.inject(&[&what[..], dry].concat()).output().unwrap())
        });
        refused.join().unwrap()
    })
}

#[test]
fn without_a_tap_nothing_is_touched_and_the_error_says_why() {
    if !Path::new("/dev/net/tun").exists() {
        println!("CHAOS-SKIP without_a_tap_nothing_is_touched_and_the_error_says_why tun");
        return;
    }
    let place = Place::new();
    let before = surroundings(&place);
    let none = None::<&str>;
    let hidden = refused(&place, || {
        mount(Some("tmpfs"), "/dev/net", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    });
    let other = refused(&place, || {
        mount(Some("/dev/null"), "/dev/net/tun", none, MsFlags::MS_BIND, none).unwrap();
    });
    for (output, said) in [
        (hidden, "cannot open /dev/net/tun for the delay line: No such file or directory"),
        (other, "cannot create the TAP device chaosd%d for the delay line: "),
    ] {
        for output in output {
            let (code, _, text) = outcome(output);
            assert_eq!(code, 4, "{text}");
            assert!(text.contains(said), "{text}");
        }
        assert_eq!(surroundings(&place), before);
        assert!(place.status()["runs"].as_array().unwrap().is_empty());
    }
    assert_eq!(place.datagrams(7520, 5), 5);
}
