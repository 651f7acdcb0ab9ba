//! The little route netlink that the guest needs: lo up, and the qdiscs that exist.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// `ip link set lo up`.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    let mut lo = LinkMessage::default();
    lo.header.index = 1;
    lo.header.flags = LinkFlags::Up;
    lo.header.change_mask = LinkFlags::Up;
    ask(RouteNetlinkMessage::SetLink(lo), NLM_F_ACK).map(|_| ())
}

/// `ifindex kind handle parent` of every qdisc.
pub(crate) fn qdiscs() -> io::Result<BTreeSet<String>> {
    let answers = ask(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()), NLM_F_DUMP)?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
            _ => None,
        })
        .map(|qdisc| {
            let kind = qdisc.attributes.iter().find_map(|attribute| match attribute {
                TcAttribute::Kind(kind) => Some(kind.as_str()),
                _ => None,
            });
            let header = qdisc.header;
            format!(
                "{} {:x}:{:x} at {:x}:{:x} on link {}",
                kind.unwrap_or("?"),
                header.handle.major,
                header.handle.minor,
                header.parent.major,
                header.parent.minor,
                header.index
            )
        })
        .collect())
}

/// Sends a request and collects the answers up to the end of a dump or the acknowledgement.
fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut answers = Vec::new();
    loop {
        let (packet, _) = socket.recv_from_full()?;
        let mut rest = &packet[..];
        while let Some(length) = rest.get(..4).and_then(|head| head.try_into().ok()) {
            let length = u32::from_ne_bytes(length) as usize;
            let one = rest.get(..length).filter(|one| one.len() >= 16).ok_or_else(cut_short)?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(one)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a netlink message is cut short")
}
