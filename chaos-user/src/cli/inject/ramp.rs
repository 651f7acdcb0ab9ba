//! `--ramp`: faults that grow.

use crate::cli::UsageError;
use crate::experiment::units::Span;
use crate::plan::growth;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct RampArgs {
    /// Grow from a twentieth to the whole over this time, in twenty steps. A rate begins at twenty
    /// times itself
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        help_heading = "How",
        allow_hyphen_values = true
    )]
    ramp: Span,
}

impl RampArgs {
    /// How long a fault that lasts so long grows.
    pub(super) fn within(self, lasts: Span) -> Result<Span, UsageError> {
        growth::within(self.ramp, lasts).map_err(|error| UsageError(format!("--ramp: {error}")))
    }
}
