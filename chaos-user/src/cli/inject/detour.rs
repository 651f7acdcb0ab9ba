//! `chaos inject delay`, `rate` and `reorder`: packets of chosen flows are held.

use std::num::NonZeroU16;

use super::ramp::RampArgs;
use super::shape::{ShapeArgs, bytes};
use super::{CommonArgs, Request};
use crate::cli::UsageError;
use crate::experiment::units::{Bytes, Direction, Percent, Rate, Span};
use crate::fault::{Backend, Detours, LineOptions};
use crate::plan::{Action, Bottleneck, Detour, Impairment, Loss, Overtake, Police};

#[derive(Debug, clap::Args)]
pub(super) struct DelayArgs {
    #[command(flatten)]
    shape: ShapeArgs,
    /// Packets that may be held at once; more are dropped. Default: as many as there is room for
    #[arg(long, value_name = "PACKETS", allow_hyphen_values = true)]
    limit: Option<u32>,
    /// Let no packet leave before an earlier one of its flow, in spite of --jitter: delays are longer
    /// on average than the distribution says. The delay line only
    #[arg(long, requires = "jitter")]
    keep_order: bool,
    #[command(flatten)]
    holding: HoldingArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RateArgs {
    /// The speed of the link, as `10mbit` or `1MB/s`; link-layer headers count
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    rate: Rate,
    /// Packets that may wait for the link; more are dropped. Default: 1000
    #[arg(long, value_name = "PACKETS", conflicts_with = "police", allow_hyphen_values = true)]
    queue: Option<u32>,
    /// Drop what exceeds the rate at once, instead of letting it wait
    #[arg(long)]
    police: bool,
    /// With --police: bytes that may pass at once, as `65536` or `64KiB`
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = bytes,
        requires = "police",
        allow_hyphen_values = true
    )]
    burst: Option<Bytes>,
    #[command(flatten)]
    holding: HoldingArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReorderArgs {
    /// Share of packets that overtake those that are held
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    share: Percent,
    /// How much each choice resembles the one before
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    correlation: Option<Percent>,
    /// Only every N-th packet may overtake
    #[arg(long, value_name = "N", default_value_t = 1, allow_hyphen_values = true)]
    gap: u32,
    /// How long the packets are held that are overtaken
    #[arg(long, value_name = "TIME", default_value = "10ms", allow_hyphen_values = true)]
    latency: Span,
    #[command(flatten)]
    holding: HoldingArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Clone, clap::Args)]
struct HoldingArgs {
    /// Who holds packets: netem where the kernel has it, else the delay line
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "auto|netem|delay-line",
        help_heading = "How"
    )]
    backend: Backend,
    #[command(flatten)]
    ramp: RampArgs,
    /// Hold each packet of a segmented burst by itself, instead of the burst as one: more exact, and
    /// slower. The delay line only
    #[arg(long, help_heading = "How")]
    per_packet: bool,
    /// Threads that hold packets, 1 to 16, for hosts with many processors and rules: those of one rule that
    /// pass a device in one direction belong to one thread. The delay line only. Default: 1
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(LineOptions::THREADS)),
        help_heading = "How",
        allow_hyphen_values = true
    )]
    threads: Option<u16>,
    /// How long before a packet's time a thread stops sleeping and watches the clock, at most 1ms: more
    /// exact, and costs processor time. The delay line only. Default: as long as it wakes late, which it
    /// learns, and at most 80us
    #[arg(long, value_name = "TIME", help_heading = "How", allow_hyphen_values = true)]
    spin: Option<Span>,
    /// Real-time priority of the threads, 0 (none) to 99. The delay line only. Default: 10 where it is
    /// allowed
    #[arg(
        long,
        value_name = "PRIORITY",
        value_parser = clap::value_parser!(u8).range(..=i64::from(LineOptions::PRIORITY)),
        help_heading = "How",
        allow_hyphen_values = true
    )]
    priority: Option<u8>,
}

impl HoldingArgs {
    fn line(&self) -> LineOptions {
        LineOptions {
            per_packet: self.per_packet,
            threads: self.threads.and_then(NonZeroU16::new),
            spin: self.spin,
            priority: self.priority,
        }
    }
}

impl DelayArgs {
    pub(super) fn request(self) -> anyhow::Result<Request> {
        let Self { shape, limit, keep_order, holding, common } = self;
        let Some(latency) = shape.latency.filter(|latency| *latency > Span::ZERO) else {
            return Err(
                UsageError("say how long: --latency, as in `--latency 500ms`".into()).into()
            );
        };
        let impairment = Impairment {
            latency,
            jitter: shape.jitter.unwrap_or_default(),
            distribution: shape.distribution.map(|arg| arg.0).unwrap_or_default(),
            correlation: shape.correlation.unwrap_or_default(),
            limit,
            keep_order,
            ..Impairment::default()
        };
        common.held("delay", impairment, &holding)
    }
}

impl RateArgs {
    pub(super) fn request(self) -> anyhow::Result<Request> {
        let Self { rate, queue, police, burst, holding, common } = self;
        if police {
            let line = holding.line() != LineOptions::default();
            if holding.backend != Backend::Auto || line {
                return Err(UsageError(
                    "--police holds nothing, so --backend, --per-packet, --threads, --spin and \
                     --priority mean nothing with it"
                        .into(),
                )
                .into());
            }
            let burst = burst.map_or_else(|| Police::default_burst(rate), Bytes::get);
            let action = Action::Police(Police { rate, burst });
            let mut request = common.request("rate", action, Direction::To)?;
            request.grow(holding.ramp)?;
            return Ok(request);
        }
        let queue = queue.unwrap_or(1000);
        if queue == 0 {
            return Err(UsageError(
                "--queue 0 leaves no packet to wait; use --police to drop what exceeds the rate"
                    .into(),
            )
            .into());
        }
        let impairment =
            Impairment { bottleneck: Some(Bottleneck { rate, queue }), ..Impairment::default() };
        common.held("rate", impairment, &holding)
    }
}

impl ReorderArgs {
    pub(super) fn request(self) -> anyhow::Result<Request> {
        let Self { share, correlation, gap, latency, holding, common } = self;
        for (wrong, what) in [
            (share.ppb() == 0, "--share 0% overtakes nothing"),
            (gap == 0, "--gap 0 is no distance; 1 makes every packet a candidate"),
            (latency == Span::ZERO, "--latency 0s holds nothing that could be overtaken"),
        ] {
            if wrong {
                return Err(UsageError(what.into()).into());
            }
        }
        let overtake = Overtake { share, correlation: correlation.unwrap_or_default(), gap };
        let impairment = Impairment { latency, overtake: Some(overtake), ..Impairment::default() };
        common.held("reorder", impairment, &holding)
    }
}

impl CommonArgs {
    /// A rule that sends packets on a detour.
    fn held(
        &self,
        name: &str,
        impairment: Impairment,
        holding: &HoldingArgs,
    ) -> anyhow::Result<Request> {
        let longest = impairment.longest();
        let what = impairment.to_string();
        let action = Action::Detour(Detour { share: Loss::Always, what });
        let mut request = self.delaying(name, action, Direction::To, Some(longest))?;
        let HoldingArgs { backend, ramp, .. } = *holding;
        let (rules, line) = (vec![(0, impairment)], holding.line());
        request.fault.detours = Detours { backend, rules, line };
        request.grow(ramp)?;
        Ok(request)
    }
}
