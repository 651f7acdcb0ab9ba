//! The operator's own connection, which no fault may cut.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cgroup::parent_of;

/// One SSH connection, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshSession {
    /// Where the operator is.
    pub client: (IpAddr, u16),
    /// Where sshd listens.
    pub server: (IpAddr, u16),
}

impl SshSession {
    /// Reads the value of `SSH_CONNECTION`: client address and port, server address and port.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        let mut end = || Some((address(fields.next()?)?, fields.next()?.parse().ok()?));
        Some(Self { client: end()?, server: end()? })
    }
}

/// A v4 client of a dual-stack sshd may be written `::ffff:a.b.c.d`; a zone has no place in a rule.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

/// The sessions that this process descends from. sudo removes `SSH_CONNECTION` from the
/// environment, so the parents' are read too.
pub fn operator_sessions() -> Vec<SshSession> {
    let mut sessions = BTreeSet::new();
    sessions.extend(std::env::var("SSH_CONNECTION").ok().as_deref().and_then(SshSession::parse));
    for parent in ancestors(std::process::id()) {
        let environment = std::fs::read(format!("/proc/{parent}/environ")).unwrap_or_default();
        let value = environment
            .split(|&byte| byte == 0)
            .filter_map(|entry| std::str::from_utf8(entry).ok())
            .find_map(|entry| entry.strip_prefix("SSH_CONNECTION="));
        sessions.extend(value.and_then(SshSession::parse));
    }
    sessions.into_iter().collect()
}

/// The processes that one descends from, its parent first, the first process left out.
pub fn ancestors(pid: u32) -> Vec<u32> {
    let parent = |pid: &u32| parent_of(*pid).filter(|&parent| parent > 1);
    std::iter::successors(parent(&pid), parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_families() {
        let session = SshSession::parse("192.0.2.7 51515 198.51.100.1 22").unwrap();
        assert_eq!(session.client, ("192.0.2.7".parse().unwrap(), 51515));
        assert_eq!(session.server.1, 22);
        let session = SshSession::parse("fe80::1%eth0 4000 fe80::2%eth0 22").unwrap();
        assert_eq!(session.client.0, "fe80::1".parse::<IpAddr>().unwrap());
        let mapped = SshSession::parse("::ffff:192.0.2.7 1 ::ffff:192.0.2.8 22").unwrap();
        assert!(mapped.client.0.is_ipv4() && mapped.server.0.is_ipv4());
    }

    #[test]
    fn refuses_what_is_no_connection() {
        for text in [
            "",
            "192.0.2.7",
            "192.0.2.7 x 192.0.2.8 22",
            "host 1 host 2",
            "192.0.2.7 99999 192.0.2.8 22",
        ] {
            assert_eq!(SshSession::parse(text), None, "{text:?}");
        }
    }
}
