//! What people do with `tc`, to compare with.

use std::process::{Command, Stdio};

use chaos::host;

use crate::link::{Link, NEAR};

/// A link whose near end `tc` looks after.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) link: Link,
    /// What `netem` is attached to.
    place: &'static [&'static str],
}

impl Peer {
    /// netem as the device's root: everything that leaves is held. And what guides for one port
    /// tell: prio with netem below its third band, and a u32 filter. None where the kernel has no
    /// netem, or the machine no `tc`.
    pub(crate) fn all(port: u16) -> Vec<Self> {
        if host::netem().unwrap().is_err() || Command::new("tc").arg("-V").output().is_err() {
            println!("(no netem or no tc here: nothing to compare with)");
            return Vec::new();
        }
        let root = Self { name: "tc root netem", link: Link::up().unwrap(), place: &["root"] };
        let classes =
            Self { name: "tc prio+u32", link: Link::up().unwrap(), place: &["parent", "1:3"] };
        // Every priority to the first band, or some traffic would be held that nobody chose.
        let bands = "root handle 1: prio priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        classes.tc(&["qdisc", "add", "dev", NEAR], bands);
        let port = port.to_string();
        let matching = format!("u32 match ip dport {port} 0xffff flowid 1:3");
        classes.tc(&["filter", "add", "dev", NEAR, "parent", "1:", "protocol", "ip"], &matching);
        vec![root, classes]
    }

    /// Holds packets as long from now on.
    pub(crate) fn delay(&self, micros: u64) {
        let mut command = vec!["qdisc", "replace", "dev", NEAR];
        command.extend(self.place);
        self.tc(&command, &format!("netem delay {micros}us limit 100000"));
    }

    fn tc(&self, command: &[&str], rest: &str) {
        let done = self.link.near.run(|| {
            Command::new("tc").args(command).args(rest.split(' ')).stdin(Stdio::null()).status()
        });
        assert!(done.unwrap().unwrap().success(), "tc {command:?} {rest}");
    }
}
