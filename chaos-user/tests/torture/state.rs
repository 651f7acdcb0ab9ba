//! What the machine is like: everything a run could have changed and not put back.

use std::collections::BTreeSet;
use std::path::Path;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netlink::qdisc::{RootQdisc, TcSocket};
use chaos::kernel::netns::NetNs;

/// Facts in words, to be compared and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State(BTreeSet<String>);

impl State {
    /// Of a namespace, and of what belongs to the runs whose state is in `folder`.
    pub(crate) fn take(netns: &NetNs, folder: &Path) -> Self {
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
        Self(facts)
    }

    /// What is different in `now`.
    pub(crate) fn difference(&self, now: &Self) -> Vec<String> {
        let gone = self.0.difference(&now.0).map(|fact| format!("gone: {fact}"));
        let new = now.0.difference(&self.0).map(|fact| format!("new: {fact}"));
        gone.chain(new).collect()
    }
}

/// Settings of the network, which are the namespace's own.
fn sysctls(folder: &Path, facts: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sysctls(&path, facts);
        } else if path.starts_with("/proc/sys/net/ipv4/conf")
            || path.starts_with("/proc/sys/net/ipv6/conf")
        {
            let value = std::fs::read_to_string(&path).unwrap_or_default();
            facts.insert(format!("{} = {}", path.display(), value.trim()));
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
