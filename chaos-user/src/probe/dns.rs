//! Names and the addresses they resolve to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::net::{UdpSocket, lookup_host};

use super::Place;
use crate::experiment::{DnsCall, Family};

/// The port of DNS.
const PORT: u16 = 53;
/// A question without an answer is asked again after this long: UDP may lose it.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Resolves a name: by the server that is named, else as the place resolves names.
pub(super) fn resolve(
    call: &DnsCall,
    place: &Place<'_>,
) -> Result<impl Future<Output = Result<Value, String>> + Send + 'static, String> {
    let name = place.variables.fill_text(&call.name);
    let family = call.family;
    let server = match &call.server {
        None => None,
        Some(server) => {
            let text = place.variables.fill_text(server);
            let address = text.parse::<SocketAddr>();
            let address =
                address.or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)));
            Some(address.map_err(|_| format!("`{text}` is not the address of a DNS server"))?)
        }
    };
    let known = if server.is_none() { (place.resolve)(&name) } else { Vec::new() };
    Ok(async move {
        let addresses = match server {
            Some(server) => ask(server, &name, family).await?,
            None if !known.is_empty() => known,
            None => {
                let found = lookup_host((name.as_str(), 0)).await;
                found.map_err(|error| format!("look up {name}: {error}"))?.map(|a| a.ip()).collect()
            }
        };
        let wanted = |address: &IpAddr| match family {
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let mut texts: Vec<String> =
            addresses.iter().filter(|a| wanted(a)).map(ToString::to_string).collect();
        texts.dedup();
        if texts.is_empty() {
            return Err(format!("{name} has no address of this kind"));
        }
        Ok(json!({ "addresses": texts }))
    })
}

async fn ask(server: SocketAddr, name: &str, family: Family) -> Result<Vec<IpAddr>, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what} {server}: {error}");
    let id = u16::from_ne_bytes(nonce(name));
    let query = question(id, name, family)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(|e| failed("open a socket to", &e))?;
    // Connected, so that only the server's own answers arrive, and its refusals too.
    socket.connect(server).await.map_err(|e| failed("reach the DNS server", &e))?;
    let mut reply = [0; 4096];
    loop {
        socket.send(&query).await.map_err(|e| failed("ask the DNS server", &e))?;
        let Ok(received) = tokio::time::timeout(ASK_AGAIN, socket.recv(&mut reply)).await else {
            continue;
        };
        let length = received.map_err(|e| failed("ask the DNS server", &e))?;
        if let Some(answer) = answer(&reply[..length], id, name) {
            return answer;
        }
    }
}

/// Told apart from late answers to other questions; the socket's port is random anyway.
fn nonce(name: &str) -> [u8; 2] {
    use std::hash::{BuildHasher as _, RandomState};
    let hash = RandomState::new().hash_one(name).to_ne_bytes();
    [hash[0], hash[1]]
}

fn question(id: u16, name: &str, family: Family) -> Result<Vec<u8>, String> {
    let kind = match family {
        Family::V4 => TYPE::A,
        Family::V6 => TYPE::AAAA,
    };
    let bad = |error: simple_dns::SimpleDnsError| format!("`{name}` is not a name: {error}");
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let kinds = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(Name::new(name).map_err(bad)?, kinds.0, kinds.1, false));
    packet.build_bytes_vec().map_err(bad)
}

/// The addresses in a reply; `None` if it is no reply to this question.
fn answer(reply: &[u8], id: u16, name: &str) -> Option<Result<Vec<IpAddr>, String>> {
    let packet = Packet::parse(reply).ok()?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    Some(match packet.rcode() {
        RCODE::NoError => Ok(packet
            .answers
            .iter()
            .filter_map(|record| match &record.rdata {
                RData::A(a) => Some(Ipv4Addr::from(a.address).into()),
                RData::AAAA(a) => Some(Ipv6Addr::from(a.address).into()),
                _ => None,
            })
            .collect()),
        RCODE::NameError => Err(format!("the DNS server says that {name} does not exist")),
        other => Err(format!("the DNS server refused {name}: {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::A;

    use super::*;

    /// A server that answers `known.test` and denies every other name; it ignores the first
    /// question, as a network may.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let mut first = true;
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                if std::mem::take(&mut first) {
                    continue;
                }
                let mut packet = Packet::parse(&buffer[..length]).unwrap().into_reply();
                let name = packet.questions[0].qname.clone();
                if name.to_string() == "known.test" {
                    let data = RData::A(A::from(Ipv4Addr::new(192, 0, 2, 7)));
                    packet.answers.push(ResourceRecord::new(name, CLASS::IN, 1, data));
                } else {
                    *packet.rcode_mut() = RCODE::NameError;
                }
                socket.send_to(&packet.build_bytes_vec().unwrap(), from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_server_is_asked() {
        let server = server().await;
        let known = ask(server, "known.test", Family::V4).await;
        assert_eq!(known, Ok(vec![IpAddr::from([192, 0, 2, 7])]));
        let unknown = ask(server, "unknown.test", Family::V4).await;
        assert!(unknown.unwrap_err().ends_with("unknown.test does not exist"));
    }

    #[test]
    fn answers_to_other_questions_are_passed_over() {
        let query = question(7, "known.test", Family::V6).unwrap();
        assert_eq!(answer(&query, 7, "known.test"), None, "a question is no answer");
        let reply = Packet::parse(&query).unwrap().into_reply().build_bytes_vec().unwrap();
        assert_eq!(answer(&reply, 8, "known.test"), None);
        assert_eq!(answer(&reply, 7, "known.test"), Some(Ok(vec![])));
        assert!(question(7, &"x".repeat(300), Family::V4).is_err());
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(reply: Vec<u8>) {
            let _ = answer(&reply, 7, "x");
        }
    }
}
