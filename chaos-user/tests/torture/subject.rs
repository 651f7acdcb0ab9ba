//! What is tortured.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chaos::host;
use chaos::kernel::netns::NetNs;

use crate::squeezed::Squeezed;

/// A command that injects something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Links that die with their process, where the kernel has them.
    Drop,
    /// Filters that outlive it.
    DropClsact,
    /// Programs on a cgroup, too.
    Reject,
    /// Packets held by this process, on a device of its own; settings of the loopback device.
    DelayLine,
    /// Packets held by the kernel, on a pair of devices.
    DelayNetem,
    /// Everything that leaves a device lost, by a qdisc that outlives the process.
    Netem,
    /// An experiment with a lab, a partition and probes.
    Partition,
    /// An experiment that stops, kills and freezes processes of a lab.
    Processes,
    /// A file system that is full.
    DiskFill,
    /// A container that is paused.
    Container,
    /// A cgroup that is short of CPU time.
    Pressure,
}

/// Where a command finds what it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) netns: &'a NetNs,
    /// The port that datagrams go to.
    pub(crate) port: u16,
    pub(crate) folder: &'a Path,
    /// How long a fault lasts that a command line describes.
    pub(crate) lasts: Duration,
}

impl Subject {
    /// Those that the machine's kernel can do.
    pub(crate) fn all() -> Vec<Self> {
        let netem = host::netem().unwrap().is_ok();
        let limits = Squeezed::is_possible();
        let mut all = vec![
            Self::Drop,
            Self::DropClsact,
            Self::Reject,
            Self::DelayLine,
            Self::DelayNetem,
            Self::Netem,
            Self::Partition,
            Self::Processes,
            Self::DiskFill,
            Self::Container,
            Self::Pressure,
        ];
        all.retain(|one| netem || !one.needs_netem());
        all.retain(|one| limits || *one != Self::Pressure);
        all
    }

    pub(crate) fn needs_netem(self) -> bool {
        matches!(self, Self::DelayNetem | Self::Netem)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::DropClsact => "drop (clsact)",
            Self::Reject => "reject (clsact, connect)",
            Self::DelayLine => "delay (delay line)",
            Self::DelayNetem => "delay (netem detour)",
            Self::Netem => "netem, whole device",
            Self::Partition => "experiment: partition",
            Self::Processes => "experiment: processes",
            Self::DiskFill => "experiment: disk-fill",
            Self::Container => "experiment: paused container",
            Self::Pressure => "experiment: cpu-pressure",
        }
    }

    /// Whether it hits datagrams to the port that is watched.
    pub(crate) fn is_felt(self) -> bool {
        use Subject::{DelayLine, DelayNetem, Drop, DropClsact, Netem};
        matches!(self, Drop | DropClsact | DelayLine | DelayNetem | Netem)
    }

    /// Whether the kernel ends it by itself when nobody else does.
    pub(crate) fn ends_in_the_kernel(self) -> bool {
        !matches!(self, Self::Netem | Self::Pressure)
    }

    /// What is run; it ends by itself soon after it is in force.
    pub(crate) fn command(self, around: Around<'_>) -> Command {
        let (port, lasts) = (around.port.to_string(), format!("{}ms", around.lasts.as_millis()));
        let udp = ["--proto", "udp", "--remote-port", &port];
        let clsact = ["--attach", "clsact"];
        let delay = ["delay", "--latency", "300ms", "--backend"];
        let inject = |words: &[&[&str]]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
            command.arg("inject").args(words.concat()).args(["--for", &lasts, "--netns"]);
            command.arg(around.netns.path());
            command
        };
        let run = |folder: &Path, file: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
            command.arg("run").arg(folder.join(file));
            command.arg("--output").arg(around.folder.join("results"));
            command
        };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments");
        match self {
            Self::Drop => inject(&[&["drop"], &udp]),
            Self::DropClsact => inject(&[&["drop"], &udp, &clsact]),
            Self::Reject => {
                inject(&[&["reject", "--proto", "tcp", "--remote-port", &port], &clsact])
            }
            Self::DelayLine => inject(&[&delay, &["delay-line"], &udp]),
            Self::DelayNetem => inject(&[&delay, &["netem"], &udp]),
            Self::Netem => inject(&[&["netem", "--dev", "lo", "--loss", "100%"]]),
            Self::Partition => run(&shipped, "cut.yaml"),
            Self::Processes => run(&shipped, "process.yaml"),
            Self::DiskFill => run(around.folder, "fill.yaml"),
            Self::Container => run(around.folder, "shop.yaml"),
            Self::Pressure => run(around.folder, "squeeze.yaml"),
        }
    }

    /// Writes the experiments that are about what is in `folder`.
    pub(crate) fn write_experiments(folder: &Path, squeezed: Option<&Squeezed>) {
        let write = |name: &str, fault: &str| {
            let text = format!(
                "title: t\nmethod:\n  - {{ name: f, type: action, \
                 provider: {{ type: chaos, {fault}, duration: 500ms }} }}\n"
            );
            std::fs::write(folder.join(name), text).unwrap();
        };
        write("fill.yaml", "fault: disk-fill, path: disk");
        let socket = folder.join("docker.sock");
        write("shop.yaml", &format!("fault: pause, container: shop, socket: {}", socket.display()));
        if let Some(Squeezed(cgroup)) = squeezed {
            let cgroup = cgroup.display();
            write("squeeze.yaml", &format!("fault: cpu-pressure, cpus: 0.1, cgroup: {cgroup}"));
        }
    }
}
