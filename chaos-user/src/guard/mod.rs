//! What may be done, where, when and how much of it: decided before anything is touched.
//!
//! [`Rules`] come from a host's [`Policy`], from an experiment, or are built in; an [`Extent`] is what
//! a plan would do at most; [`decide`] compares them. Pure: the time is passed in.

mod approval;
mod decide;
mod document;
mod extent;
mod policy;
mod rules;
mod window;

pub use approval::Approval;
pub use decide::{Asked, Clearance, decide, protected};
pub use document::RulesDocument;
pub use extent::{Extent, FaultExtent};
pub use policy::Policy;
pub use rules::{Environment, Limits, Rules};
pub use window::{Blackout, Window, WindowError};
