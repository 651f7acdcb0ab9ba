//! Sending and counting.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use chaos::experiment::units::{Direction, PortRange};
use chaos::plan::Selector;

use crate::support::Pair;

/// Addresses of the far and the near end, by family.
pub(crate) const FAMILIES: [(&str, &str); 2] = [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")];

/// A port for each end of a test: rules choose by port alone, and the kernel gives away the same one once
/// for each family and protocol.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Pair {
    /// A listener at the far end, and everything that it receives sent back.
    pub(crate) fn echo(&self, address: &str) -> SocketAddr {
        let listener = self.far.run(|| TcpListener::bind((ip(address), port()))).unwrap().unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let _ = io::copy(&mut stream, &mut writer);
                });
            }
        });
        at
    }

    /// A client at the near end.
    pub(crate) fn connect(&self, to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
        let stream = self.near.run(|| TcpStream::connect_timeout(&to, within)).unwrap()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(crate) fn near_socket(&self, address: &str) -> UdpSocket {
        self.near.run(|| UdpSocket::bind((ip(address), port()))).unwrap().unwrap()
    }

    pub(crate) fn far_socket(&self, address: &str) -> UdpSocket {
        self.far.run(|| UdpSocket::bind((ip(address), port()))).unwrap().unwrap()
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Sends bytes to an [`Pair::echo`] and takes them back.
pub(crate) fn round_trip(stream: &mut TcpStream, size: usize, within: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let mut received = vec![0; 16_384];
    for chunk in sent.chunks(16_384) {
        stream.write_all(chunk)?;
        let received = &mut received[..chunk.len()];
        stream.read_exact(received)?;
        assert_eq!(received, chunk);
    }
    Ok(())
}

/// How many of `count` datagrams arrive; few enough to fit the receiver's buffer.
pub(crate) fn datagrams(from: &UdpSocket, to: &UdpSocket, count: usize) -> usize {
    assert!(count <= 200, "the buffer holds no more");
    let address = to.local_addr().unwrap();
    for n in 0..count {
        from.send_to(&n.to_ne_bytes(), address).unwrap();
    }
    received(to, count)
}

/// Datagrams that are there or come before nothing has come for a while, up to `most`.
pub(crate) fn received(at: &UdpSocket, most: usize) -> usize {
    at.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut buffer = [0; 64];
    (0..most).take_while(|_| at.recv(&mut buffer).is_ok()).count()
}

/// How long it takes until a datagram arrives again.
pub(crate) fn until_it_flows(from: &UdpSocket, to: &UdpSocket, most: Duration) -> Duration {
    let start = Instant::now();
    let address = to.local_addr().unwrap();
    to.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut buffer = [0; 64];
    loop {
        from.send_to(b"?", address).unwrap();
        if to.recv(&mut buffer).is_ok() {
            let took = start.elapsed();
            // What is still on its way belongs to nobody.
            while to.recv(&mut buffer).is_ok() {}
            return took;
        }
        assert!(start.elapsed() < most, "nothing arrived within {most:?}");
    }
}

/// Chooses by the far end's port.
pub(crate) fn to_port(direction: Direction, port: u16) -> Selector {
    let ports = vec![PortRange::new(port, port).unwrap()];
    Selector { direction, remote_ports: ports, ..Selector::default() }
}
