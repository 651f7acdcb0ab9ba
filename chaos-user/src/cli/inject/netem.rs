//! `chaos inject netem`: a whole device, as `tc qdisc add dev DEV root netem …` does it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::live::{block_signals, wait};
use super::ramp::RampArgs;
use super::shape::{DistributionArg, ShapeArgs, lasting};
use super::take;
use crate::cli::guards::{GuardArgs, NotAllowed};
use crate::cli::{UsageError, table};
use crate::exit::Exit;
use crate::experiment::units::{Percent, Rate, Span};
use crate::fault::{
    ActiveWholeDevice, FaultError, Journal, NetemCounts, RootNetemError, RootNetemHealed,
    RuleEvidence, RunScope, Sharing, WholeDevice,
};
use crate::guard::{Extent, FaultExtent};
use crate::host::operator_sessions;
use crate::kernel::netlink::qdisc::{
    Chance, Loss, Netem, NetemRate, Probability, Reorder, Slot, SlotSpacing,
};
use crate::kernel::netns::NetNs;
use crate::plan::growth;

#[derive(Debug, clap::Args)]
pub(super) struct NetemArgs {
    /// How long the fault lasts, as `30s`, `500ms`, `2m`; mandatory
    #[arg(long = "for", value_name = "TIME", required = true, allow_hyphen_values = true)]
    lasts: Span,
    /// The device; everything that leaves through it is hit
    #[arg(long, value_name = "NAME", required = true)]
    dev: String,
    /// Network namespace: its name, the id of a process in it, or a path. Default: this one
    #[arg(long, value_name = "NAME|PID|PATH")]
    netns: Option<String>,
    #[command(flatten)]
    shape: ShapeArgs,
    #[command(flatten)]
    harm: HarmArgs,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    guards: GuardArgs,
    #[command(flatten)]
    ramp: RampArgs,
    /// Start of netem's random numbers (Linux 6.6; it is said if the kernel ignores it)
    #[arg(long, value_name = "NUMBER", help_heading = "How", allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Go on although the device has qdiscs that cannot be put back: they are lost
    #[arg(long, help_heading = "How")]
    force: bool,
    /// Go on although your SSH session comes in through the device and would not survive
    #[arg(long, help_heading = "How")]
    even_if_locked_out: bool,
    /// Check everything, say what would be done, and touch nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// Print one JSON object instead of text
    #[arg(long, help_heading = "How")]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What happens to packets")]
struct HarmArgs {
    /// Share of packets to lose
    #[arg(long, value_name = "PERCENT", group = "losing", allow_hyphen_values = true)]
    loss: Option<Percent>,
    /// How much each loss resembles the one before
    #[arg(long, value_name = "PERCENT", requires = "loss", allow_hyphen_values = true)]
    loss_correlation: Option<Percent>,
    /// Lose in bursts (Gilbert-Elliott): probabilities of good → bad and bad → good, then the loss
    /// in the bad state (default 100%) and in the good one (default 0%)
    #[arg(
        long,
        value_name = "P,R[,BAD[,GOOD]]",
        group = "losing",
        value_delimiter = ',',
        num_args = 1
    )]
    loss_gemodel: Vec<Percent>,
    /// Lose by a chain of four states, as `tc … loss state` takes them
    #[arg(
        long,
        value_name = "P13[,P31[,P32[,P23[,P14]]]]",
        group = "losing",
        value_delimiter = ',',
        num_args = 1
    )]
    loss_state: Vec<Percent>,
    /// Mark packets that can carry it instead of losing them
    #[arg(long, requires = "losing")]
    ecn: bool,
    /// Share of packets to send twice
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    duplicate: Option<Percent>,
    /// How much each duplication resembles the one before
    #[arg(long, value_name = "PERCENT", requires = "duplicate", allow_hyphen_values = true)]
    duplicate_correlation: Option<Percent>,
    /// Share of packets to flip one bit in
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    corrupt: Option<Percent>,
    /// How much each corruption resembles the one before
    #[arg(long, value_name = "PERCENT", requires = "corrupt", allow_hyphen_values = true)]
    corrupt_correlation: Option<Percent>,
    /// Share of packets that overtake those that wait
    #[arg(long, value_name = "PERCENT", requires = "latency", allow_hyphen_values = true)]
    reorder: Option<Percent>,
    /// How much each overtaking resembles the one before
    #[arg(long, value_name = "PERCENT", requires = "reorder", allow_hyphen_values = true)]
    reorder_correlation: Option<Percent>,
    /// Only every N-th packet may overtake
    #[arg(long, value_name = "N", requires = "latency", allow_hyphen_values = true)]
    gap: Option<u32>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What kind of link")]
struct LinkArgs {
    /// A rate limit, as `10mbit` or `1MB/s`
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    rate: Option<Rate>,
    /// Bytes that the link adds to each packet (negative: takes away)
    #[arg(
        long,
        value_name = "BYTES",
        requires = "rate",
        allow_negative_numbers = true,
        allow_hyphen_values = true
    )]
    packet_overhead: Option<i32>,
    /// Bytes per cell of the link
    #[arg(long, value_name = "BYTES", requires = "rate", allow_hyphen_values = true)]
    cell_size: Option<u32>,
    /// Bytes that the link adds to each cell
    #[arg(
        long,
        value_name = "BYTES",
        requires = "cell_size",
        allow_negative_numbers = true,
        allow_hyphen_values = true
    )]
    cell_overhead: Option<i32>,
    /// Packets leave in bursts, this long after each other
    #[arg(long, value_name = "MIN[,MAX]", value_delimiter = ',', num_args = 1)]
    slot: Vec<Span>,
    /// Bursts leave after the (one) time of --slot and this jitter
    #[arg(long, value_name = "TIME", requires = "slot", allow_hyphen_values = true)]
    slot_jitter: Option<Span>,
    /// How that jitter is distributed
    #[arg(long, value_name = "NAME|FILE", requires = "slot_jitter")]
    slot_distribution: Option<DistributionArg>,
    /// Packets per burst at most
    #[arg(long, value_name = "N", requires = "slot", allow_hyphen_values = true)]
    slot_packets: Option<u32>,
    /// Bytes per burst at most
    #[arg(long, value_name = "BYTES", requires = "slot", allow_hyphen_values = true)]
    slot_bytes: Option<u32>,
    /// Packets that may wait; more are dropped
    #[arg(long, value_name = "PACKETS", default_value_t = Netem::DEFAULT_LIMIT, allow_hyphen_values = true)]
    limit: u32,
}

#[derive(Debug, Serialize)]
struct Outcome<'a> {
    run: &'a str,
    fault: &'static str,
    device: &'a str,
    netem: &'a Netem,
    ramp: Option<String>,
    counts: NetemCounts,
    evidence: [&'a RuleEvidence; 1],
    restored: &'a RootNetemHealed,
    remarks: &'a [String],
    interrupted: bool,
    acted: bool,
}

#[derive(Debug, Serialize)]
struct DryRun<'a> {
    fault: &'static str,
    namespace: String,
    device: &'a str,
    lasts: String,
    ramp: Option<String>,
    netem: &'a Netem,
    notes: Vec<String>,
}

impl NetemArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let netns = match &self.netns {
            Some(text) => NetNs::parse(text)
                .map_err(|error| UsageError(format!("--netns {text}: {error}")))?,
            None => NetNs::current().context("open this network namespace")?,
        };
        let lasts = lasting(self.lasts)?;
        let fault = WholeDevice {
            name: "netem".into(),
            netns,
            device: self.dev.clone(),
            netem: self.netem()?,
            lasts,
            ramp: self.ramp.within(lasts)?,
            force: self.force,
            even_if_locked_out: self.even_if_locked_out,
            sessions: operator_sessions(),
        };
        fault.netem.validate().map_err(RootNetemError::from).map_err(FaultError::from)?;
        let extent = FaultExtent::of_device("netem", &fault.harm(), fault.lasts);
        // It hits a whole device, so flows that policies protect cannot be exempt.
        let (clearance, _) = self.guards.read()?.ask(None, None, &Extent::of_fault(extent));
        clearance.map_err(NotAllowed)?;
        if self.dry_run {
            return self.preview(&fault);
        }
        let scope = RunScope::root_qdisc(&fault.netns, &fault.device);
        let _lock = take(&[scope], Sharing::Alone)?;
        self.inject(&fault)
    }

    fn netem(&self) -> Result<Netem, UsageError> {
        let Self { shape, harm, link, seed, .. } = self;
        let chance = |share: Option<Percent>, correlation: Option<Percent>| Chance {
            probability: share.map_or(Probability::ZERO, Probability::from),
            correlation: correlation.map_or(Probability::ZERO, Probability::from),
        };
        // As tc has it: with a gap alone every gap-th packet overtakes.
        let reorder = (harm.reorder.is_some() || harm.gap.is_some()).then(|| Reorder {
            chance: chance(harm.reorder.or(Some(Percent::ALL)), harm.reorder_correlation),
            gap: harm.gap.unwrap_or(1),
        });
        let netem = Netem {
            limit: link.limit,
            latency: shape.latency.unwrap_or_default().into(),
            jitter: shape.jitter.unwrap_or_default().into(),
            delay_correlation: shape.correlation.map_or(Probability::ZERO, Probability::from),
            distribution: shape.distribution.clone().map(|arg| arg.0).unwrap_or_default(),
            loss: harm.loss()?,
            ecn: harm.ecn,
            duplicate: chance(harm.duplicate, harm.duplicate_correlation),
            corrupt: chance(harm.corrupt, harm.corrupt_correlation),
            reorder,
            rate: link.rate.map(|rate| NetemRate {
                bytes_per_second: rate.bytes(),
                packet_overhead: link.packet_overhead.unwrap_or(0),
                cell_size: link.cell_size.unwrap_or(0),
                cell_overhead: link.cell_overhead.unwrap_or(0),
            }),
            slot: link.slot()?,
            seed: *seed,
        };
        if netem == (Netem { limit: link.limit, seed: *seed, ..Netem::default() }) {
            return Err(UsageError(
                "this netem would do nothing; say what happens to packets, as --latency 500ms"
                    .into(),
            ));
        }
        Ok(netem)
    }

    fn preview(&self, fault: &WholeDevice) -> anyhow::Result<Exit> {
        let notes = fault.preview()?;
        let dry_run = DryRun {
            fault: "netem",
            namespace: fault.netns.to_string(),
            device: &fault.device,
            lasts: fault.lasts.to_string(),
            ramp: (fault.ramp > Span::ZERO).then(|| fault.ramp.to_string()),
            netem: &fault.netem,
            notes,
        };
        if self.json {
            println!("{}", serde_json::to_string(&dry_run)?);
            return Ok(Exit::Pass);
        }
        let DryRun { namespace, device, lasts, netem, notes, .. } = dry_run;
        let grows = growth::words(fault.ramp);
        println!("netem at the root of {device} in {namespace} for {lasts}{grows}: {netem}");
        for note in &notes {
            println!("  note: {note}");
        }
        println!("nothing was touched");
        Ok(Exit::Pass)
    }

    fn inject(&self, fault: &WholeDevice) -> anyhow::Result<Exit> {
        let signals = block_signals()?;
        let unguarded = Arc::new(OnceLock::new());
        let lost = Arc::clone(&unguarded);
        let run = format!("inject-{}", std::process::id());
        let journal = Journal::guarded(&run, move |why| drop(lost.set(why.to_owned())))
            .map_err(FaultError::from)?;
        let run = journal.run().to_owned();
        let active = fault.start_in(&journal)?;
        drop(journal);
        if !self.json {
            let WholeDevice { netns, device, lasts, netem, .. } = fault;
            let grows = growth::words(fault.ramp);
            eprintln!("netem at the root of {device} in {netns} for {lasts}{grows}: {netem}");
            eprintln!("  run {run}; Ctrl-C heals");
        }
        let mut interrupted = false;
        while !interrupted && unguarded.get().is_none() && !active.remaining().is_zero() {
            interrupted = wait(&signals, active.remaining())?;
        }
        let exit = self.finish(&run, fault, active, interrupted)?;
        match unguarded.get() {
            Some(why) => bail!("{why}; healed"),
            None => Ok(exit),
        }
    }

    fn finish(
        &self,
        run: &str,
        fault: &WholeDevice,
        mut active: ActiveWholeDevice,
        interrupted: bool,
    ) -> anyhow::Result<Exit> {
        active.counts()?;
        let mut remarks = active.remarks();
        let (counts, evidence, restored) = active.heal()?;
        match &restored {
            RootNetemHealed::AsBefore => {}
            RootNetemHealed::DeviceGone => {
                remarks.push(format!("{} was gone when this ended", fault.device));
            }
            RootNetemHealed::AsFarAsPossible { difference } => remarks.push(difference.clone()),
        }
        let acted = evidence.is_proof();
        if self.json {
            let outcome = Outcome {
                run,
                fault: "netem",
                device: &fault.device,
                netem: &fault.netem,
                ramp: (fault.ramp > Span::ZERO).then(|| fault.ramp.to_string()),
                counts,
                evidence: [&evidence],
                restored: &restored,
                remarks: &remarks,
                interrupted,
                acted,
            };
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            print!("{}", table::evidence(std::slice::from_ref(&evidence)));
            let NetemCounts { sent, dropped, waiting, .. } = counts;
            println!("  sent {sent}, dropped {dropped}, still waiting {waiting}");
            for remark in &remarks {
                println!("  note: {remark}");
            }
            println!(
                "{}",
                match (interrupted, acted) {
                    (true, _) => "interrupted; healed",
                    (false, true) => "the fault acted; healed",
                    (false, false) if evidence.seen == 0 => {
                        "INCONCLUSIVE: no packet left through the device; healed"
                    }
                    (false, false) => "INCONCLUSIVE: nothing proves that the fault acted; healed",
                }
            );
        }
        Ok(match (interrupted, acted) {
            (true, _) => Exit::Aborted,
            (false, true) => Exit::Pass,
            (false, false) => Exit::Inconclusive,
        })
    }
}

impl HarmArgs {
    fn loss(&self) -> Result<Loss, UsageError> {
        let all = |shares: &[Percent]| -> Vec<Probability> {
            shares.iter().map(|share| (*share).into()).collect()
        };
        match (self.loss, self.loss_gemodel.as_slice(), self.loss_state.as_slice()) {
            (Some(share), ..) => Ok(Loss::Random {
                probability: share.into(),
                correlation: self.loss_correlation.map_or(Probability::ZERO, Probability::from),
            }),
            (_, [], []) => Ok(Loss::NONE),
            (_, [], state) => Loss::four_state(&all(state)).ok_or_else(|| {
                UsageError(format!(
                    "--loss-state takes one to five percentages, not {}",
                    state.len()
                ))
            }),
            (_, ge, _) => Loss::gilbert_elliott(&all(ge)).ok_or_else(|| {
                UsageError(format!(
                    "--loss-gemodel takes two to four percentages, not {}: P,R[,BAD[,GOOD]], as in \
                     `--loss-gemodel 1%,25%`",
                    ge.len()
                ))
            }),
        }
    }
}

impl LinkArgs {
    fn slot(&self) -> Result<Option<Slot>, UsageError> {
        if self.slot.is_empty() {
            return Ok(None);
        }
        let times: Vec<Duration> = self.slot.iter().map(|time| (*time).into()).collect();
        let distribution = || self.slot_distribution.clone().map(|arg| arg.0).unwrap_or_default();
        let jitter = self.slot_jitter.map(|jitter| (jitter.into(), distribution()));
        let spacing = SlotSpacing::of(&times, jitter).ok_or_else(|| {
            UsageError("--slot takes one time or MIN,MAX; with --slot-jitter just one".into())
        })?;
        Ok(Some(Slot { spacing, max_packets: self.slot_packets, max_bytes: self.slot_bytes }))
    }
}
