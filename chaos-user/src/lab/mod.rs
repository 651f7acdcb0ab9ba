//! Hosts made of network namespaces, joined by bridges and routers, with processes on them.

mod check;
mod disks;
mod document;
mod error;
mod files;
mod net;
mod node;
mod placeholder;
mod plan;
mod ready;
mod record;
mod registry;
mod running;
mod spec;
mod spec_error;
mod step;
pub mod supervisor;
#[cfg(test)]
mod tests;

pub use document::LabDocument;
pub use error::{LabError, ReadyError};
pub use node::{LabDevice, LabNode};
pub use plan::{DevicePlan, LabPlan, NodePlan, RoutePlan};
pub use record::{DeviceRecord, LabRecord, NodeRecord, ProcessRecord};
pub use registry::{Claim, Registry, RegistryError};
pub use running::{Lab, LabOptions, Watch};
pub use spec::{
    AttachmentSpec, LabSpec, MAX_ATTACHMENTS, MAX_FILE, MAX_NETWORKS, MAX_NODES, MAX_PROCESSES,
    NetworkSpec, NodeSpec, ProcessSpec, Ready, Restart,
};
pub use spec_error::{Problem, SpecError};
pub use step::Step;
