//! Asking the guards, for every command that injects something.

use std::path::PathBuf;

use jiff::Timestamp;

use super::UsageError;
use crate::guard::{
    Approval, Asked, Clearance, Environment, Extent, Policy, Rules, decide, protected,
};
use crate::host::{approval, policies};
use crate::plan::Rule;

/// Options about what is allowed.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What is allowed (docs/guards.md)")]
pub(super) struct GuardArgs {
    /// A file that says who approved, in which ticket, until when; production needs one
    #[arg(long, value_name = "FILE")]
    approval: Option<PathBuf>,
    /// The kind of place this is, as `staging` or `production`. Default: what the experiment or this
    /// host's policy says
    #[arg(long, value_name = "NAME")]
    environment: Option<Environment>,
}

/// The rules of this host, and what was said on the command line.
pub(super) struct Guards {
    policies: Vec<Policy>,
    approval: Option<Approval>,
    environment: Option<Environment>,
}

/// The guards do not allow it.
#[derive(Debug, thiserror::Error)]
#[error("not allowed, and nothing was touched: {}", .0.join("; "))]
pub(super) struct NotAllowed(pub(super) Vec<String>);

/// The guards' answer, and the flows to protect.
pub(super) type Answer = (Result<Clearance, Vec<String>>, Vec<Rule>);

impl GuardArgs {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Guards, UsageError> {
        let refused = |error: crate::host::PolicyError| UsageError(error.to_string());
        let approval = match &self.approval {
            Some(path) => Some(approval(path).map_err(refused)?),
            None => None,
        };
        let environment = self.environment.clone();
        Ok(Guards { policies: policies().map_err(refused)?, approval, environment })
    }
}

impl Guards {
    /// Asks. `environment` and `own` are what an experiment says.
    pub(super) fn ask(
        &self,
        environment: Option<&Environment>,
        own: Option<&Rules>,
        extent: &Extent,
    ) -> Answer {
        if let (Some(given), Some(said)) = (environment, &self.environment)
            && given != said
        {
            let why = format!("the experiment is for `{given}`, and --environment says `{said}`");
            return (Err(vec![why]), Vec::new());
        }
        let asked = Asked {
            environment: environment.or(self.environment.as_ref()),
            own,
            policies: &self.policies,
            extent,
            approval: self.approval.as_ref(),
            now: Timestamp::now(),
        };
        (decide(&asked), protected(&asked))
    }
}
