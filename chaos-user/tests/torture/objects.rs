//! What is loaded into the kernel.

use std::collections::BTreeSet;

use aya::maps::loaded_maps;
use aya::programs::loaded_programs;

/// BPF programs of this tool, and all BPF maps, that no living process holds: whoever else uses BPF
/// on this machine holds its own.
pub(crate) fn abandoned() -> BTreeSet<String> {
    let mut programs = BTreeSet::new();
    let mut maps: BTreeSet<u32> = loaded_maps().flatten().map(|map| map.id()).collect();
    let mut held = held();
    for program in loaded_programs().flatten() {
        let ours = program.name_as_str().is_some_and(|name| name.starts_with("chaos_"));
        if !ours || held.contains(&("prog_id", program.id())) {
            // What it uses is held by it.
            let used = program.map_ids().ok().flatten().unwrap_or_default();
            held.extend(used.into_iter().map(|map| ("map_id", map)));
        } else {
            programs.insert(program.id());
        }
    }
    maps.retain(|map| !held.contains(&("map_id", *map)));
    let programs = programs.into_iter().map(|program| format!("BPF program {program}"));
    programs.chain(maps.into_iter().map(|map| format!("BPF map {map}"))).collect()
}

/// Kinds and ids of what is behind descriptors of processes.
fn held() -> BTreeSet<(&'static str, u32)> {
    let mut held = BTreeSet::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let infos = std::fs::read_dir(process.path().join("fdinfo"));
        for info in infos.into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(info.path()).unwrap_or_default();
            for line in text.lines() {
                let Some((key, value)) = line.split_once(':') else { continue };
                let kind = ["prog_id", "map_id"].into_iter().find(|kind| *kind == key);
                if let (Some(kind), Ok(id)) = (kind, value.trim().parse()) {
                    held.insert((kind, id));
                }
            }
        }
    }
    held
}
