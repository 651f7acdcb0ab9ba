//! Hosts made of network namespaces, joined by bridges and routers, with processes on them.

mod check;
mod document;
mod placeholder;
mod plan;
mod spec;
mod spec_error;
#[cfg(test)]
mod tests;

pub use document::LabDocument;
pub use plan::{DevicePlan, LabPlan, NodePlan, RoutePlan};
pub use spec::{
    AttachmentSpec, LabSpec, MAX_ATTACHMENTS, MAX_FILE, MAX_NETWORKS, MAX_NODES, MAX_PROCESSES,
    NetworkSpec, NodeSpec, ProcessSpec, Ready, Restart,
};
pub use spec_error::{Problem, SpecError};
