//! What is tortured.

use std::path::Path;
use std::process::Command;

use chaos::kernel::netns::NetNs;

/// A command that injects something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Links that die with their process, where the kernel has them.
    Drop,
    /// Filters that outlive it.
    DropClsact,
    /// Programs on a cgroup, too.
    Reject,
    /// An experiment with a lab, a partition and probes.
    Partition,
    /// An experiment that stops, kills and freezes processes of a lab.
    Processes,
}

impl Subject {
    pub(crate) const ALL: [Self; 5] =
        [Self::Drop, Self::DropClsact, Self::Reject, Self::Partition, Self::Processes];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::DropClsact => "drop (clsact)",
            Self::Reject => "reject (clsact, connect)",
            Self::Partition => "experiment: partition",
            Self::Processes => "experiment: processes",
        }
    }

    /// Whether it hits datagrams to the port that is watched.
    pub(crate) fn is_felt(self) -> bool {
        matches!(self, Self::Drop | Self::DropClsact)
    }

    /// What is run; it ends by itself soon after it is in force.
    pub(crate) fn command(self, netns: &NetNs, port: u16, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        let port = port.to_string();
        let inject = |command: &mut Command, what: &[&str]| {
            command.arg("inject").args(what).args(["--for", "500ms", "--netns"]).arg(netns.path());
        };
        let udp = ["drop", "--proto", "udp", "--remote-port", &port];
        match self {
            Self::Drop => inject(&mut command, &udp),
            Self::DropClsact => inject(&mut command, &[&udp[..], &["--attach", "clsact"]].concat()),
            Self::Reject => {
                let reject = ["reject", "--proto", "tcp", "--remote-port", &port];
                inject(&mut command, &[&reject[..], &["--attach", "clsact"]].concat());
            }
            Self::Partition | Self::Processes => {
                let file = match self {
                    Self::Partition => "cut.yaml",
                    _ => "process.yaml",
                };
                let file =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments").join(file);
                command.arg("run").arg(file).arg("--output").arg(folder.join("results"));
            }
        }
        command
    }
}
