//! What people do with `tc`, and with tcconfig, to compare with.

use std::process::{Command, Stdio};

use chaos::host;

use crate::link::{Link, NEAR};

/// The one that aims are about.
pub(crate) const ROOT: &str = "tc root netem";

/// Of prio, and so beyond those that its priorities name here.
const THIRD_BAND: &str = "1:3";

/// A link whose near end somebody else's tool looks after.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) link: Link,
    /// Where packets to hold go.
    port: u16,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// netem as the device's root: everything that leaves is held.
    Root,
    /// What guides for one port tell: prio with netem below its third band, and a u32 filter.
    Prio,
    /// `tcset` of tcconfig from PyPI.
    Tcconfig,
}

impl Peer {
    /// Those that the kernel and the machine have; `all` of them have to be there.
    pub(crate) fn all(port: u16, all: bool) -> Vec<Self> {
        let kinds = [
            (ROOT, Kind::Root, "tc"),
            ("tc prio+u32", Kind::Prio, "tc"),
            ("tcconfig", Kind::Tcconfig, "tcset"),
        ];
        let netem = host::netem().unwrap().is_ok();
        let mut peers = Vec::new();
        for (name, kind, program) in kinds {
            let version = Command::new(program).arg("-V").stdin(Stdio::null()).output();
            match version {
                Ok(version) if netem && version.status.success() => {
                    print!("{name}: {}", String::from_utf8_lossy(&version.stdout));
                    let peer = Self { name, link: Link::up().unwrap(), port, kind };
                    peer.set_up();
                    peers.push(peer);
                }
                missing => {
                    assert!(!all, "cannot compare with {name}: netem {netem}, {missing:?}");
                    println!("(no netem or no {program} here: nothing to compare with {name})");
                }
            }
        }
        peers
    }

    /// What stays the same from delay to delay.
    fn set_up(&self) {
        if let Kind::Prio = self.kind {
            // Every priority to the first band, or some traffic would be held that nobody chose.
            self.run(&format!(
                "tc qdisc add dev {NEAR} root handle 1: prio priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
            ));
            self.run(&format!(
                "tc filter add dev {NEAR} parent 1: protocol ip \
                 u32 match ip dport {} 0xffff flowid {THIRD_BAND}",
                self.port
            ));
        }
    }

    /// Holds packets as long from now on.
    pub(crate) fn delay(&self, micros: u64) {
        let netem = format!("netem delay {micros}us limit 100000");
        self.run(&match self.kind {
            Kind::Root => format!("tc qdisc replace dev {NEAR} root {netem}"),
            Kind::Prio => format!("tc qdisc replace dev {NEAR} parent {THIRD_BAND} {netem}"),
            Kind::Tcconfig => {
                format!("tcset {NEAR} --overwrite --delay {micros}us --port {}", self.port)
            }
        });
    }

    fn run(&self, command: &str) {
        let mut words = command.split_whitespace();
        let program = words.next().unwrap();
        let done =
            self.link.near.run(|| Command::new(program).args(words).stdin(Stdio::null()).status());
        assert!(done.unwrap().unwrap().success(), "{command}");
    }
}
