//! Plans that would cut the operator off are refused.
//!
//! A fault by flow exempts the operator's session in the data path. What hits a whole device, a
//! process or a control group has no such exemption, so it is checked before anything is touched:
//! [`ways_in`] finds out how this namespace reaches the operators, [`check_device`] and
//! [`check_processes`] refuse.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::experiment::units::{Percent, Rate, Span};
use crate::host::{SshSession, ancestors};
use crate::kernel::netlink::{Link, Netlink, NetlinkError};
use crate::kernel::netns::NetNs;

/// What happens to every packet that leaves a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Harm {
    /// Share of packets that is lost or damaged.
    pub loss: Percent,
    /// The longest delay: with jitter, if there is any.
    pub delay: Span,
    /// What the device is slowed down to.
    pub rate: Option<Rate>,
}

/// As much loss as a session (and the neighbour entry of the gateway, which whole-device faults hit
/// as well) survives.
const SURVIVABLE_LOSS: Percent = match Percent::from_ppb(300_000_000) {
    Some(share) => share,
    None => Percent::ZERO,
};
/// As much delay. A neighbour is given up when three requests, a second apart, go unanswered.
const SURVIVABLE_DELAY: Span = Span::from_secs(2);
/// As little bandwidth, in bits per second.
const SURVIVABLE_RATE: u64 = 64_000;

impl Harm {
    /// Nothing gets through.
    pub const TOTAL: Self = Self { loss: Percent::ALL, delay: Span::ZERO, rate: None };

    /// Why a session does not survive it.
    fn deadly(&self) -> Option<String> {
        let Self { loss, delay, rate } = *self;
        if loss > SURVIVABLE_LOSS {
            return Some(format!("loses {loss} of all packets (more than {SURVIVABLE_LOSS})"));
        }
        if delay > SURVIVABLE_DELAY {
            return Some(format!("delays all packets by {delay} (more than {SURVIVABLE_DELAY})"));
        }
        rate.filter(|rate| rate.bits() < SURVIVABLE_RATE)
            .map(|rate| format!("leaves {rate} for everything (less than 64kbit)"))
    }
}

/// How a namespace reaches an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayIn {
    /// The operator's session.
    pub session: SshSession,
    /// The device that packets to the operator leave through, and those below it: ports of that
    /// bridge or bond, or what it is a VLAN of.
    pub devices: Vec<String>,
}

/// A plan that would cut the operator off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockedOut {
    /// Through a device.
    #[error(
        "this would cut you off: your SSH session from {client} comes in through `{device}`, and the \
         fault {harm}, the neighbour entry of the gateway included; choose flows with a selector (the \
         session is exempt then), or, if you have a console, say so with --even-if-locked-out"
    )]
    Device {
        /// Where the operator is.
        client: IpAddr,
        /// The device.
        device: String,
        /// What happens to it.
        harm: String,
    },
    /// Through a process.
    #[error(
        "this would cut you off: {what} holds process {pid} ({name}), which is {relation}; choose \
         another target"
    )]
    Process {
        /// What is to be stopped, in words.
        what: String,
        /// The process that must live.
        pid: u32,
        /// Its name.
        name: String,
        /// Why it must.
        relation: &'static str,
    },
}

/// How `netns` reaches the operators of these sessions; sessions that end elsewhere are left out.
pub fn ways_in(netns: &NetNs, sessions: &[SshSession]) -> Result<Vec<WayIn>, NetlinkError> {
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let sessions = sessions.to_vec();
    let found = netns.block_on(|| async move {
        let netlink = Netlink::open()?;
        let (links, addresses) = (netlink.links().await?, netlink.addresses().await?);
        let mut ways = Vec::new();
        for session in sessions {
            let ours = |address: IpAddr| addresses.iter().any(|one| one.address.addr() == address);
            if !ours(session.server.0) {
                continue;
            }
            // No route is no way in, so nothing can be cut.
            if let Some(index) = netlink.device_towards(session.client.0).await? {
                ways.push(WayIn { session, devices: with_lower(index, &links) });
            }
        }
        Ok(ways)
    });
    found.unwrap_or_else(|error| {
        Err(NetlinkError::Connect(std::io::Error::other(error.to_string())))
    })
}

/// A device and everything below it: its ports, and what it is a VLAN of.
fn with_lower(index: u32, links: &[Link]) -> Vec<String> {
    let mut chosen = BTreeSet::from([index]);
    let below = |chosen: &BTreeSet<u32>, link: &Link| {
        let carries = |one: &Link| one.below == Some(link.index) && chosen.contains(&one.index);
        link.master.is_some_and(|master| chosen.contains(&master)) || links.iter().any(carries)
    };
    while let Some(lower) =
        links.iter().find(|link| !chosen.contains(&link.index) && below(&chosen, link))
    {
        chosen.insert(lower.index);
    }
    links.iter().filter(|link| chosen.contains(&link.index)).map(|link| link.name.clone()).collect()
}

/// Refuses to harm a whole device that an operator comes in through, unless a session survives it.
pub fn check_device(ways: &[WayIn], device: &str, harm: &Harm) -> Result<(), LockedOut> {
    let Some(deadly) = harm.deadly() else { return Ok(()) };
    match ways.iter().find(|way| way.devices.iter().any(|one| one == device)) {
        None => Ok(()),
        Some(way) => Err(LockedOut::Device {
            client: way.session.client.0,
            device: device.to_owned(),
            harm: deadly,
        }),
    }
}

/// Refuses to stop, freeze or kill processes that this one descends from (the operator's shell and
/// sshd are among them), this one itself, and the first one. `what` names the target in words.
pub fn check_processes(what: &str, pids: &[u32]) -> Result<(), LockedOut> {
    let own = std::process::id();
    judge_processes(what, pids, own, &ancestors(own), &|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim().to_owned()
    })
}

fn judge_processes(
    what: &str,
    pids: &[u32],
    own: u32,
    ancestors: &[u32],
    name: &dyn Fn(u32) -> String,
) -> Result<(), LockedOut> {
    for &pid in pids {
        let relation = match pid {
            1 => "the first process of this host",
            pid if pid == own => "this very command",
            pid if ancestors.contains(&pid) => "what this command was started from",
            _ => continue,
        };
        return Err(LockedOut::Process { what: what.to_owned(), pid, name: name(pid), relation });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> WayIn {
        let session = SshSession::parse("192.0.2.7 50000 198.51.100.1 22").unwrap();
        WayIn { session, devices: vec!["br0".into(), "eth0".into()] }
    }

    fn harm(loss: &str, delay: &str, rate: Option<&str>) -> Harm {
        Harm {
            loss: loss.parse().unwrap(),
            delay: delay.parse().unwrap(),
            rate: rate.map(|rate| rate.parse().unwrap()),
        }
    }

    #[test]
    fn only_deadly_harm_to_the_operators_device_is_refused() {
        let ways = [way()];
        for (harm, refused) in [
            (Harm::TOTAL, true),
            (harm("31%", "0s", None), true),
            (harm("30%", "2s", Some("64kbit")), false),
            (harm("0%", "2001ms", None), true),
            (harm("0%", "0s", Some("63kbit")), true),
        ] {
            for device in ["br0", "eth0"] {
                assert_eq!(check_device(&ways, device, &harm).is_err(), refused, "{harm:?}");
            }
            check_device(&ways, "lo", &harm).unwrap();
            check_device(&[], "eth0", &harm).unwrap();
        }
        insta::assert_snapshot!(check_device(&ways, "eth0", &Harm::TOTAL).unwrap_err(), @"this would cut you off: your SSH session from 192.0.2.7 comes in through `eth0`, and the fault loses 100% of all packets (more than 30%), the neighbour entry of the gateway included; choose flows with a selector (the session is exempt then), or, if you have a console, say so with --even-if-locked-out");
    }

    #[test]
    fn ancestors_are_not_stopped() {
        let refused = |pids: &[u32]| {
            judge_processes("the unit `ssh.service`", pids, 50, &[40, 30], &|_| "sshd".into())
        };
        refused(&[51, 2, 99]).unwrap();
        for pid in [1, 30, 40, 50] {
            assert!(refused(&[99, pid]).is_err(), "{pid}");
        }
        insta::assert_snapshot!(refused(&[30]).unwrap_err(), @"this would cut you off: the unit `ssh.service` holds process 30 (sshd), which is what this command was started from; choose another target");
        // For real: the test's own parent.
        assert!(check_processes("x", &[nix::unistd::getppid().as_raw().cast_unsigned()]).is_err());
        check_processes("x", &[u32::MAX]).unwrap();
    }
}
