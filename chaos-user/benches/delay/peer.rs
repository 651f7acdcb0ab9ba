//! What people do with `tc`, to compare with.

use std::process::{Command, Stdio};

use chaos::host;

use crate::link::{Link, NEAR};

/// The one that aims are about.
pub(crate) const ROOT: &str = "tc root netem";

/// A link whose near end `tc` looks after.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) link: Link,
    /// What `netem` is attached to.
    place: &'static [&'static str],
    /// What it is told beside the delay.
    options: &'static str,
}

impl Peer {
    /// netem as the device's root: everything that leaves is held. What guides for one port tell:
    /// prio with netem below its third band, and a u32 filter. And what tcconfig 0.30.1 from PyPI
    /// has `tc` do for one port (`tcset DEVICE --delay TIME --port PORT --tc-command` prints it),
    /// since no guest has Python. None where the kernel has no netem, or the machine no `tc`.
    pub(crate) fn all(port: u16) -> Vec<Self> {
        if host::netem().unwrap().is_err() || Command::new("tc").arg("-V").output().is_err() {
            println!("(no netem or no tc here: nothing to compare with)");
            return Vec::new();
        }
        let peer = |name, place, options| Self { name, link: Link::up().unwrap(), place, options };
        let root = peer(ROOT, &["root"], " limit 100000");
        let classes = peer("tc prio+u32", &["parent", "1:3"], " limit 100000");
        // Every priority to the first band, or some traffic would be held that nobody chose.
        let bands = "root handle 1: prio priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        classes.tc(&["qdisc", "add", "dev", NEAR], bands);
        let port = port.to_string();
        let matching = format!("u32 match ip dport {port} 0xffff flowid 1:3");
        classes.tc(&["filter", "add", "dev", NEAR, "parent", "1:", "protocol", "ip"], &matching);
        let tcconfig = peer("tcconfig's tc", &["parent", "1:79"], "");
        tcconfig.tc(&["qdisc", "add", "dev", NEAR], "root handle 1: htb default 1");
        let class = ["class", "add", "dev", NEAR, "parent", "1:"];
        tcconfig.tc(&class, "classid 1:1 htb rate 32000000.0kbit");
        let rate = "classid 1:79 htb rate 32000000.0Kbit ceil 32000000.0Kbit";
        tcconfig.tc(&class, rate);
        let matching = format!(
            "prio 5 u32 match ip dst 0.0.0.0/0 match ip src 0.0.0.0/0 match ip dport {port} 0xffff \
             flowid 1:79"
        );
        tcconfig.tc(&["filter", "add", "dev", NEAR, "protocol", "ip", "parent", "1:"], &matching);
        vec![root, classes, tcconfig]
    }

    /// Holds packets as long from now on.
    pub(crate) fn delay(&self, micros: u64) {
        let mut command = vec!["qdisc", "replace", "dev", NEAR];
        command.extend(self.place);
        self.tc(&command, &format!("netem delay {micros}us{}", self.options));
    }

    fn tc(&self, command: &[&str], rest: &str) {
        let done = self.link.near.run(|| {
            Command::new("tc").args(command).args(rest.split(' ')).stdin(Stdio::null()).status()
        });
        assert!(done.unwrap().unwrap().success(), "tc {command:?} {rest}");
    }
}
