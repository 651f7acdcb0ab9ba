//! What the tests share.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use chaos::lab::{Lab, LabOptions, LabSpec};
use tempfile::TempDir;

/// Tests that look at what this whole process holds open must not overlap with others.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn spec(text: &str) -> LabSpec {
    LabSpec::parse(text, Path::new("test.yaml")).unwrap()
}

pub(crate) fn options(folder: &TempDir) -> LabOptions {
    LabOptions::new(folder.path().join("lab"))
}

pub(crate) fn up(text: &str) -> (Lab, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::up(&spec(text), options(&folder)).unwrap();
    (lab, folder)
}

/// Everything of this process and this host that a lab could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    namespaces: usize,
    threads: usize,
    children: BTreeSet<String>,
    links: Vec<String>,
    mounts: usize,
}

pub(crate) fn held() -> Held {
    let list = |path: &str| fs::read_dir(path).unwrap().flatten();
    let namespaces = list("/proc/self/fd")
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter(|to| to.to_string_lossy().starts_with("net:["))
        .count();
    let children = list("/proc/self/task")
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // The test runner's own threads come and go; those that the lab starts are told by name.
    let threads = list("/proc/self/task")
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| {
            ["netns", "spawner", "watcher", "reader"].iter().any(|own| name.starts_with(own))
        })
        .count();
    let links = NetNs::current()
        .unwrap()
        .block_on(|| async { Netlink::open().unwrap().links().await.unwrap() })
        .unwrap();
    Held {
        namespaces,
        threads,
        children,
        links: links.into_iter().map(|link| link.name).collect(),
        mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
    }
}

/// Waits for a condition that the kernel brings about in its own time.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends over TCP and UDP from one namespace to an address in another and back.
pub(crate) fn exchange(from: &NetNs, to: &NetNs, address: IpAddr) {
    tcp(from, to, address).unwrap_or_else(|error| panic!("TCP to {address}: {error}"));
    udp(from, to, address).unwrap_or_else(|error| panic!("UDP to {address}: {error}"));
}

fn tcp(from: &NetNs, to: &NetNs, address: IpAddr) -> io::Result<()> {
    let listener = to.run(|| TcpListener::bind((address, 0))).unwrap()?;
    let at = listener.local_addr()?;
    let server = thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut received = vec![0; 100_000];
        io::Read::read_exact(&mut stream, &mut received)?;
        io::Write::write_all(&mut stream, &received)
    });
    let client = from.run(move || TcpStream::connect_timeout(&at, Duration::from_secs(5)));
    let mut client = client.unwrap()?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    io::Write::write_all(&mut client, &sent)?;
    let mut back = vec![0; sent.len()];
    io::Read::read_exact(&mut client, &mut back)?;
    assert_eq!(sent, back);
    server.join().unwrap()
}

fn udp(from: &NetNs, to: &NetNs, address: IpAddr) -> io::Result<()> {
    let any: SocketAddr =
        if address.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
    let server = to.run(|| UdpSocket::bind((address, 0))).unwrap()?;
    let client = from.run(|| UdpSocket::bind(any)).unwrap()?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let mut buffer = [0; 16];
    client.send_to(b"ping", server.local_addr()?)?;
    let (size, peer) = server.recv_from(&mut buffer)?;
    assert_eq!(&buffer[..size], b"ping");
    server.send_to(b"pong", peer)?;
    let (size, _) = client.recv_from(&mut buffer)?;
    assert_eq!(&buffer[..size], b"pong");
    Ok(())
}
