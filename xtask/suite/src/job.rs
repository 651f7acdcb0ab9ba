//! What the guest of a test VM is to do; it finds this in its initramfs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Suite;

/// Where the guest finds its job.
pub const JOB_FILE: &str = "/job.json";

/// What the guest of a test VM is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Kernel modules, each after those it needs.
    pub modules: Vec<PathBuf>,
    /// The work itself.
    pub work: Work,
}

/// The work itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Run tests one by one.
    Suites {
        /// The test programs.
        suites: Vec<Suite>,
        /// Only tests or suites whose name contains this.
        filter: Option<String>,
        /// How long one test may take, in seconds.
        test_limit: u64,
    },
    /// Run one command; its output goes to the third serial port.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Whether its output ends on a terminal, for programs that like colours.
        terminal: bool,
        /// Where it runs.
        directory: PathBuf,
    },
    /// Offer a shell on the third serial port.
    Shell {
        /// Where it starts.
        directory: PathBuf,
    },
    /// Come up and go down again.
    Nothing,
}
