//! How precise and how fast the delay line is, as ratios to baselines of the same run. Needs root.
//!
//! `cargo bench -p chaos-user --bench delay_line [-- hold|streams|packets]`. A shared machine has
//! bad moments: what is compared runs in turns, and only the ratios mean something.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure fails by panicking")]

#[path = "../../tests/delay_line/bed.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod bed;
mod hold;
mod one_way;
mod packets;
mod sample;
mod streams;

fn main() {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benchmarks: [(&str, fn()); 3] =
        [("hold", hold::run), ("streams", streams::run), ("packets", packets::run)];
    for (name, run) in benchmarks {
        if chosen.is_empty() || chosen.iter().any(|one| one == name) {
            run();
        }
    }
}
