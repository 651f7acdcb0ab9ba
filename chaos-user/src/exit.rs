//! Exit codes: an interface that scripts may rely on.

use std::process::ExitCode;

/// How a run of `chaos` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// PASS: the fault acted, and everything held. For commands that judge nothing: done.
    Pass = 0,
    /// FAIL: the system under test did not meet its expectations.
    Fail = 1,
    /// INCONCLUSIVE: the fault provably hit nothing, so nothing was shown.
    Inconclusive = 2,
    /// ABORTED: a guard tripped, or the user interrupted. Everything was healed.
    Aborted = 3,
    /// This host cannot do it: a privilege or a kernel feature is missing. Nothing was touched.
    HostUnable = 4,
    /// The tool failed. Everything was healed.
    ToolFailed = 5,
    /// Something could not be put back; `chaos heal` and `chaos doctor` say more.
    NotHealed = 6,
    /// Wrong usage, or a file that is not understood. Nothing was touched.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
