//! Every program of the object passes this kernel's verifier, and not by a hair.

use std::collections::HashSet;

use aya::programs::loaded_programs;
use chaos::kernel::bpf::{Object, Sizes};

/// The verifier gives up after a million instructions, counted along every path that it follows.
/// Kernels differ, so what comes near on one fails on another, and each start waits for it.
const MOST_INSTRUCTIONS: u32 = 800_000;

/// The kernel keeps this much of a program's name.
const NAME_LENGTH: usize = 15;

#[test]
fn every_program_loads() {
    let mut object = Object::load(Sizes { rules: 16, entries: 32, delays: 1, queues: 0 }).unwrap();
    for name in object.program_names() {
        let others: HashSet<u32> =
            loaded_programs().flatten().map(|program| program.id()).collect();
        let start = std::time::Instant::now();
        object.load_program(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let took = start.elapsed();
        let short = &name[..name.len().min(NAME_LENGTH)];
        let instructions = loaded_programs()
            .flatten()
            .filter(|program| !others.contains(&program.id()))
            .filter(|program| program.name_as_str() == Some(short))
            .find_map(|program| program.verified_instruction_count())
            .unwrap_or_else(|| panic!("{name} is loaded, and the kernel does not list it"));
        println!("{name}: {instructions} instructions, verified in {took:?}");
        assert!(instructions < MOST_INSTRUCTIONS, "{name}: {instructions} instructions");
    }
}
