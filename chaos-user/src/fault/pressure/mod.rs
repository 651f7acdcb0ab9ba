//! Cgroups (v2) that get less CPU time, memory or disk than they want.
//!
//! One limit of the cgroup is lowered (`cpu.max`, `memory.high`, `io.max`) and put back. A limit that
//! would have processes killed (`memory.max`) is not touched: that could not be taken back. The limit
//! has no deadline in the kernel; the run, its guardian or `chaos heal` puts it back.

mod active;
mod error;

pub use active::{ActivePressure, CgroupPressure, PressureEvidence};
pub use error::PressureError;
