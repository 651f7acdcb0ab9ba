//! What no fault may touch: the operator's way in.
//!
//! ARP and neighbour discovery, and with them the neighbour entry of the default gateway, need no
//! rule: the classifier passes them before it looks at any. Docker and D-Bus are spoken to through
//! sockets of the file system, which no rule sees. Probes that run on this host are *not* exempt:
//! they have to feel the fault as any client does. DNS and metadata services are exempt if asked
//! ([`crate::plan::Endpoint`]).

use crate::experiment::units::{PortRange, Protocol};
use crate::host::SshSession;
use crate::plan::{Rule, Selector, protecting};

/// Rules that exempt the operator's SSH sessions, and further connections from where the operator
/// is to the same server: a session that ends for another reason can be opened again.
pub fn protection(sessions: &[SshSession]) -> Vec<Rule> {
    sessions
        .iter()
        .filter_map(|session| {
            let port = PortRange::new(session.server.1, session.server.1).ok()?;
            Some(protecting(
                format!("protect ssh from {}", session.client.0),
                Selector {
                    protocol: Some(Protocol::TCP),
                    local: vec![session.server.0.into()],
                    local_ports: vec![port],
                    remote: vec![session.client.0.into()],
                    ..Selector::default()
                },
            ))
        })
        .collect()
}
