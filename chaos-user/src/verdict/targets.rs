//! What a system should reach, and whether it did.

/// Noticed within a minute, in nanoseconds.
pub const DETECT_BELOW: u64 = 60_000_000_000;
/// Recovered within five minutes, in nanoseconds.
pub const RECOVER_BELOW: u64 = 300_000_000_000;
/// More than nine of ten runs pass.
pub const PASS_RATE_ABOVE: f64 = 0.9;
/// Fewer than three manual steps.
pub const MANUAL_STEPS_BELOW: u32 = 3;
