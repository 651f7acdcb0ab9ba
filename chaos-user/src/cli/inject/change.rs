//! `chaos inject duplicate|corrupt`: packets that arrive, but not as they were sent.

use super::CommonArgs;
use super::ramp::RampArgs;
use crate::experiment::units::Percent;
use crate::plan::{Action, Checksum, Corrupt, Duplicate, Loss};

#[derive(Debug, clap::Args)]
pub(super) struct DuplicateArgs {
    #[command(flatten)]
    share: ShareArgs,
    /// Copies besides the packet itself, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8), allow_hyphen_values = true)]
    copies: u8,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CorruptArgs {
    #[command(flatten)]
    share: ShareArgs,
    /// What the receiver can know: checksums do not fit, and it discards the packet; or they are
    /// made to fit, and the application reads WRONG BYTES that nothing below it can notice
    #[arg(long, value_enum, default_value_t, value_name = "detected|silent")]
    checksum: Checksum,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

/// Which of the chosen packets.
#[derive(Debug, clap::Args)]
struct ShareArgs {
    /// Share of packets, each by chance. Default: all of them
    #[arg(long, value_name = "PERCENT", group = "which", allow_hyphen_values = true)]
    share: Option<Percent>,
    /// With --share: exactly this share of every 1000 packets, instead of each by chance
    #[arg(long, requires = "share")]
    exact: bool,
    /// Every N-th packet
    #[arg(
        long,
        value_name = "N",
        group = "which",
        conflicts_with = "ramp",
        allow_hyphen_values = true
    )]
    every: Option<u32>,
    #[command(flatten)]
    ramp: RampArgs,
}

impl ShareArgs {
    fn loss(&self) -> Loss {
        let Self { share, exact, every, ramp: _ } = self;
        match (share, every) {
            (Some(share), _) if *exact => Loss::Exact(*share),
            (Some(share), _) => Loss::Random(*share),
            (None, Some(n)) => Loss::EveryNth(*n),
            (None, None) => Loss::Always,
        }
    }
}

impl DuplicateArgs {
    pub(super) fn action(&self) -> Action {
        Action::Duplicate(Duplicate { share: self.share.loss(), copies: self.copies })
    }

    pub(super) fn ramp(&self) -> RampArgs {
        self.share.ramp
    }
}

impl CorruptArgs {
    pub(super) fn action(&self) -> Action {
        Action::Corrupt(Corrupt { share: self.share.loss(), checksum: self.checksum })
    }

    pub(super) fn ramp(&self) -> RampArgs {
        self.share.ramp
    }
}
