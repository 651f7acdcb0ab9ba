//! Every program of the object passes this kernel's verifier.

use chaos::kernel::bpf::{Object, Sizes};

#[test]
fn every_program_loads() {
    let mut object = Object::load(Sizes { rules: 16, entries: 32 }).unwrap();
    for name in object.program_names() {
        let start = std::time::Instant::now();
        object.load_program(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: verified in {:?}", start.elapsed());
    }
}
