//! The classifier, packet by packet, on a real kernel (`BPF_PROG_TEST_RUN`), against an oracle in
//! plain Rust. Needs root. `CHAOS_TEST_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod answers;
mod bench;
mod changes;
mod control;
mod decisions;
mod detours;
mod exempt;
mod layer3;
mod matrix;
mod oracle;
mod packets;
mod random;
mod rules;
