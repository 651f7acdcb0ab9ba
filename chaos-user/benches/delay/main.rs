//! What users see of delays: the product's own rules on a link between two namespaces, beside what
//! `tc` does to the same kind of link in the same run, where the kernel has netem and the machine
//! has `tc`. Needs root.
//!
//! `cargo bench -p chaos-user --bench delay [-- accuracy|distributions|losses|throughput]`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure fails by panicking")]

mod accuracy;
mod distributions;
#[path = "../data_plane/link.rs"]
mod link;
mod losses;
#[path = "../delay_line/one_way.rs"]
mod one_way;
mod peer;
mod product;
#[path = "../delay_line/sample.rs"]
mod sample;
mod throughput;

fn main() {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benchmarks: [(&str, fn()); 4] = [
        ("accuracy", accuracy::run),
        ("distributions", distributions::run),
        ("losses", losses::run),
        ("throughput", throughput::run),
    ];
    for (name, run) in benchmarks {
        if chosen.is_empty() || chosen.iter().any(|one| one == name) {
            run();
        }
    }
}
