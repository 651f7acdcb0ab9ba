//! The system under test: how to start, reach, stop and inspect it.

mod beside;
mod detached;
mod exec;
mod exit;
mod process;
mod process_error;
mod program;
mod sandbox;
mod service;
mod spawner;

pub use beside::{Beside, start_beside};
pub use detached::{Detached, start_detached};
pub use exec::{ExecOutput, exec, exec_attached};
pub use exit::Exit;
pub use process::{Process, ProcessCommand, RestartPolicy};
pub use process_error::{ProcessError, SandboxStep};
pub use program::find_program;
pub use sandbox::Surroundings;
pub use service::{ContainerLog, ServiceCall, ServiceError, ServiceState, ServiceView};
pub use spawner::{Spawner, wait_readable};
