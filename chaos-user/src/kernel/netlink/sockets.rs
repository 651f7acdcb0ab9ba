//! The socket table (sock_diag): which flows exist now, and ending TCP connections.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, SOCK_DESTROY, SockDiagMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

/// A TCP or UDP socket of the calling thread's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketEntry {
    /// 6 or 17.
    pub protocol: u8,
    /// This side; the address is unspecified for a wildcard listener.
    pub local: (IpAddr, u16),
    /// The other side; the port is 0 where there is none.
    pub remote: (IpAddr, u16),
    /// The number by which `/proc/PID/fd` names it; 0 for sockets without a process.
    pub inode: u32,
    id: SocketId,
    family: u8,
}

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;

/// All TCP and UDP sockets that have a peer.
pub fn connected_sockets() -> io::Result<Vec<SocketEntry>> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for protocol in [TCP, UDP] {
            dump(&socket, family, protocol, &mut found)?;
        }
    }
    found.retain(|entry| entry.remote.1 != 0);
    Ok(found)
}

/// Ends a TCP connection as if the network had reset it (`ss -K`); false if it is gone already.
/// Needs `CONFIG_INET_DIAG_DESTROY`.
pub fn destroy(entry: &SocketEntry) -> io::Result<bool> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    let mut message = request(entry.family, entry.protocol, entry.id.clone());
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    message.finalize();
    message.header.message_type = SOCK_DESTROY;
    send(&socket, &message)?;
    let (answer, _) = socket.recv_from_full()?;
    match parse(&answer)?.payload {
        NetlinkPayload::Error(error) => match error.raw_code() {
            0 => Ok(true),
            code if code == -libc::ENOENT => Ok(false),
            code => Err(io::Error::from_raw_os_error(-code)),
        },
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

fn request(family: u8, protocol: u8, socket_id: SocketId) -> NetlinkMessage<SockDiagMessage> {
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    };
    NetlinkMessage::new(NetlinkHeader::default(), SockDiagMessage::InetRequest(request).into())
}

fn send(socket: &Socket, message: &NetlinkMessage<SockDiagMessage>) -> io::Result<()> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
}

fn parse(bytes: &[u8]) -> io::Result<NetlinkMessage<SockDiagMessage>> {
    NetlinkMessage::deserialize(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn dump(socket: &Socket, family: u8, protocol: u8, found: &mut Vec<SocketEntry>) -> io::Result<()> {
    let any = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let mut message = request(family, protocol, any);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    send(socket, &message)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        if entries(&bytes, protocol, found)? {
            return Ok(());
        }
    }
}

/// Reads one datagram of a dump; says whether it was the last.
fn entries(bytes: &[u8], protocol: u8, found: &mut Vec<SocketEntry>) -> io::Result<bool> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let message = parse(rest)?;
        let length = (message.header.length as usize).next_multiple_of(4);
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                let header = response.header;
                let id = header.socket_id;
                found.push(SocketEntry {
                    protocol,
                    local: (id.source_address.to_canonical(), id.source_port),
                    remote: (id.destination_address.to_canonical(), id.destination_port),
                    inode: header.inode,
                    family: header.family,
                    id,
                });
            }
            NetlinkPayload::Done(_) => return Ok(true),
            // The kernel lacks udp_diag, say: nothing to list.
            NetlinkPayload::Error(error) if error.raw_code() == -libc::ENOENT => return Ok(true),
            NetlinkPayload::Error(error) => {
                return Err(io::Error::from_raw_os_error(error.raw_code().saturating_neg()));
            }
            _ => {}
        }
        // A length of 0 would never end; the kernel does not send one.
        if length == 0 || length > rest.len() {
            break;
        }
        rest = &rest[length..];
    }
    Ok(false)
}

/// Reads any bytes as a datagram of the socket table: an entry point for fuzzing.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut found = Vec::new();
    let _ = entries(bytes, TCP, &mut found);
}
