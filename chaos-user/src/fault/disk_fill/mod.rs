//! A filesystem filled to a level, and kept there.
//!
//! A file without a name takes the room, so the kernel gives it back when this process ends in any
//! way. A thread takes what others free meanwhile.

mod error;
mod file;
mod fill;

pub use error::DiskFillError;
pub use fill::{ActiveDiskFill, DiskFill, FillEvidence};
