//! What the machine is like: everything a run could have changed and not put back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use chaos::host::Cgroups;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netlink::qdisc::{RootQdisc, TcSocket};
use chaos::kernel::netns::NetNs;
use nix::sys::statvfs::statvfs;

use crate::objects::abandoned;

/// Facts in words, to be compared and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    facts: BTreeSet<String>,
    /// BPF objects that nobody holds. Those that go meanwhile were somebody else's.
    abandoned: BTreeSet<String>,
}

impl State {
    /// Of a namespace, of what belongs to the runs whose state is in `folder`, and of the file system
    /// at `disk`.
    pub(crate) fn take(netns: &NetNs, folder: &Path, disk: &Path) -> Self {
        let mut facts = BTreeSet::new();
        let links = netns.block_on(|| async { Netlink::open().unwrap().links().await.unwrap() });
        let links = links.unwrap();
        for link in &links {
            facts.insert(format!("device {} {} up {}", link.index, link.name, link.up));
        }
        netns
            .run(|| {
                let mut tc = TcSocket::open().unwrap();
                for link in &links {
                    let root = RootQdisc::snapshot(&mut tc, link.index).unwrap();
                    facts.insert(format!("qdiscs of {}: {:?}", link.name, root.qdiscs));
                    for (side, kind) in
                        [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)]
                    {
                        // Kernels without TCX have none to ask about.
                        if let Ok((_, programs)) = SchedClassifier::query_tcx(&link.name, kind) {
                            let ids: Vec<u32> = programs.iter().map(ProgramInfo::id).collect();
                            facts.insert(format!("programs at {side} of {}: {ids:?}", link.name));
                        }
                    }
                }
                sysctls(Path::new("/proc/sys/net"), &mut facts);
            })
            .unwrap();
        netns
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                for link in &links {
                    let clsact = netlink.has_clsact(link.index).await.unwrap();
                    facts.insert(format!("clsact of {}: {clsact}", link.name));
                    for side in ["ingress", "egress"] {
                        let filters = netlink.bpf_filters(link.index, side).await.unwrap();
                        let names: Vec<_> = filters.iter().map(|filter| &filter.name).collect();
                        facts.insert(format!("filters at {side} of {}: {names:?}", link.name));
                    }
                }
            })
            .unwrap();
        facts.extend(
            processes(folder).into_iter().map(|(pid, line)| format!("process {pid} {line}")),
        );
        facts.extend(mounts(folder));
        let runs = std::fs::read_dir(folder.join("runs"));
        for run in runs.into_iter().flatten().flatten() {
            facts.insert(format!("journal {}", run.file_name().display()));
        }
        for file in std::fs::read_dir(disk).into_iter().flatten().flatten() {
            facts.insert(format!("file {}", file.path().display()));
        }
        let room = statvfs(disk).unwrap();
        facts.insert(format!("{} blocks free at {}", room.blocks_free(), disk.display()));
        cgroups(&own_cgroup(), &mut facts);
        Self { facts, abandoned: abandoned() }
    }

    /// The same, and this.
    pub(crate) fn and(mut self, fact: String) -> Self {
        self.facts.insert(fact);
        self
    }

    /// What is different in `now`.
    pub(crate) fn difference(&self, now: &Self) -> Vec<String> {
        let gone = self.facts.difference(&now.facts).map(|fact| format!("gone: {fact}"));
        let new =
            now.facts.difference(&self.facts).chain(now.abandoned.difference(&self.abandoned));
        gone.chain(new.map(|fact| format!("new: {fact}"))).collect()
    }
}

/// Settings of the network, as the namespace has them.
fn sysctls(folder: &Path, facts: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sysctls(&path, facts);
        } else if !path.ends_with("nf_conntrack_count") {
            let value = std::fs::read_to_string(&path).unwrap_or_default();
            facts.insert(format!("{} = {}", path.display(), value.trim()));
        }
    }
}

/// The cgroup of this process, in which runs are, too.
fn own_cgroup() -> PathBuf {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Cgroups::find().unwrap().root().join(own)
}

fn cgroups(folder: &Path, facts: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            facts.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), facts);
        }
    }
}

/// Processes that were started with this state folder: controllers, guardians, and all of a lab.
pub(crate) fn processes(folder: &Path) -> Vec<(i32, String)> {
    let marker = format!("CHAOS_STATE_DIR={}", folder.display()).into_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|&byte| byte == 0).any(|one| one == marker) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push((pid, line.trim().to_owned()));
        }
    }
    found
}

fn mounts(folder: &Path) -> Vec<String> {
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = folder.display().to_string();
    all.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|place| place.contains(&folder))
        .map(|place| format!("mount {place}"))
        .collect()
}
