//! Privileges, by name and by what each is for.

use caps::{CapSet, Capability};

/// What a command needs, and what breaks without it.
const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "load eBPF programs and maps"),
    (Capability::CAP_NET_ADMIN, "attach them to devices and change devices and queues"),
    (Capability::CAP_PERFMON, "let the verifier track pointers, which the programs need"),
    (Capability::CAP_SYS_ADMIN, "enter and create network namespaces, attach to cgroups"),
];

/// Capabilities that this process lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this needs root (or sudo), or these capabilities:{}", list(.0))]
pub struct MissingCapabilities(Vec<(Capability, &'static str)>);

fn list(missing: &[(Capability, &'static str)]) -> String {
    let lines = missing.iter().map(|(name, purpose)| format!("\n  {name}: {purpose}"));
    lines.collect::<Vec<_>>().concat()
}

/// Checks before anything is touched.
pub fn check_capabilities() -> Result<(), MissingCapabilities> {
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(name, _)| !caps::has_cap(None, CapSet::Effective, *name).unwrap_or(false))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingCapabilities(missing)) }
}

/// Every needed capability, what it is for, and whether it is there.
pub fn capabilities() -> Vec<(String, &'static str, bool)> {
    NEEDED
        .into_iter()
        .map(|(name, purpose)| {
            let present = caps::has_cap(None, CapSet::Effective, name).unwrap_or(false);
            (name.to_string(), purpose, present)
        })
        .collect()
}
