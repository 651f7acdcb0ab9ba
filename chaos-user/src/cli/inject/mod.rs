//! `chaos inject`.

mod change;
mod detour;
mod dry_run;
mod live;
mod netem;
mod ramp;
mod shape;
mod sockets;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::UsageError;
use super::guards::{GuardArgs, NotAllowed};
use super::selector::SelectorArgs;
use crate::exit::Exit;
use crate::experiment::units::{Direction, Percent, Span};
use crate::fault::{
    Detours, FaultError, NetworkFault, RunScope, ScopeError, ScopeLock, Sharing, protection,
};
use crate::guard::{Clearance, Extent, FaultExtent};
use crate::host::{check_capabilities, operator_sessions};
use crate::kernel::bpf::Mechanism;
use crate::plan::{Action, Answer, Errno, Loss, Reject, Rule};

/// Inject one fault into chosen flows, for a while, and show what it did
///
/// The kernel ends the fault after `--for`, whatever becomes of this process. Ctrl-C heals at once.
/// It ends with the packets seen, matched and acted on per rule, and exits 0 if the fault acted and
/// 2 if it hit nothing.
#[derive(Debug, clap::Args)]
pub(super) struct InjectArgs {
    #[command(subcommand)]
    fault: FaultArgs,
}

#[derive(Debug, clap::Subcommand)]
enum FaultArgs {
    /// Lose packets, as a network does: nobody is told
    Drop(DropArgs),
    /// Refuse packets and connections: the sender is told
    Reject(RejectArgs),
    /// Cut this side off from the `--remote`s, in both directions
    Partition(PartitionArgs),
    /// Send packets more than once
    Duplicate(change::DuplicateArgs),
    /// Flip a bit of packets, so that checksums detect it, or silently
    Corrupt(change::CorruptArgs),
    /// Hold packets for a while, as a long way does
    Delay(Box<detour::DelayArgs>),
    /// Let packets through at a limited rate only, as a slow link does
    Rate(Box<detour::RateArgs>),
    /// Let some packets overtake others
    Reorder(Box<detour::ReorderArgs>),
    /// Delay, lose, duplicate, corrupt, reorder or slow down everything that leaves a device
    ///
    /// This is what `tc qdisc add dev DEV root netem …` does, except that what was there comes
    /// back. It hits all traffic, chosen by nobody; `delay`, `rate` and `reorder` choose flows.
    Netem(Box<netem::NetemArgs>),
}

#[derive(Debug, clap::Args)]
struct DropArgs {
    /// Share of packets to lose. Default: all of them. Segments of one GSO packet are lost together
    #[arg(long, value_name = "PERCENT", group = "which", allow_hyphen_values = true)]
    loss: Option<Percent>,
    /// With --loss: exactly this share of every 1000 packets, instead of each by chance
    #[arg(long, requires = "loss")]
    exact: bool,
    /// Lose every N-th packet
    #[arg(
        long,
        value_name = "N",
        group = "which",
        conflicts_with = "ramp",
        allow_hyphen_values = true
    )]
    every: Option<u32>,
    /// Lose in bursts (Gilbert-Elliott): probabilities of good → bad and bad → good, then the loss
    /// in the bad state (default 100%) and in the good one (default 0%)
    #[arg(
        long,
        value_name = "P,R[,BAD[,GOOD]]",
        group = "which",
        conflicts_with = "ramp",
        value_delimiter = ',',
        num_args = 1
    )]
    gemodel: Vec<Percent>,
    #[command(flatten)]
    ramp: ramp::RampArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct RejectArgs {
    /// What answers a refused packet
    #[arg(long, value_enum, default_value_t, value_name = "ANSWER")]
    with: Answer,
    /// What connect(2) returns to processes here: ECONNREFUSED, ETIMEDOUT, ENETUNREACH,
    /// EHOSTUNREACH, EADDRNOTAVAIL, EACCES or EPERM
    #[arg(long, value_name = "ERRNO", default_value = "ECONNREFUSED", group = "connecting")]
    errno: Errno,
    /// Let connect(2) reach the network, and answer its packets only
    #[arg(long)]
    packets_only: bool,
    /// Also destroy the TCP sockets that match at the beginning, as `ss -K` does
    #[arg(long)]
    destroy_sockets: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct PartitionArgs {
    /// What the other side feels: silence, or a refusal
    #[arg(long, value_enum, default_value = "drop", value_name = "drop|reject")]
    behavior: Behavior,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Behavior {
    Drop,
    Reject,
}

#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// How long the fault lasts, as `30s`, `500ms`, `2m`; mandatory
    #[arg(long = "for", value_name = "TIME", required = true, allow_hyphen_values = true)]
    lasts: Span,
    #[command(flatten)]
    selector: SelectorArgs,
    /// Reproduces every decision. Default: a new one, which is printed
    #[arg(long, value_name = "NUMBER", help_heading = "How", allow_hyphen_values = true)]
    seed: Option<u64>,
    /// How programs are attached
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        value_name = "auto|tcx|clsact",
        help_heading = "How"
    )]
    attach: AttachArg,
    /// Print up to this many log lines per second and CPU from the kernel side
    #[arg(long, value_name = "LINES", num_args = 0..=1, default_missing_value = "10", default_value_t = 0, help_heading = "How")]
    trace_packets: u32,
    /// Share this network namespace (or these devices) with no other run. Faults of several `inject`s
    /// compose otherwise
    #[arg(long, help_heading = "How")]
    exclusive: bool,
    #[command(flatten)]
    guards: GuardArgs,
    /// Check everything, say which devices and rules would be installed and which live sockets
    /// they would hit, and touch nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// Print one JSON object instead of text
    #[arg(long, help_heading = "How")]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum AttachArg {
    Auto,
    Tcx,
    Clsact,
}

/// What the arguments mean, with the host's names resolved.
struct Request {
    fault: NetworkFault,
    clearance: Clearance,
    sharing: Sharing,
    destroy_sockets: bool,
    dry_run: bool,
    json: bool,
}

impl InjectArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        check_capabilities()?;
        let request = match self.fault {
            FaultArgs::Netem(args) => return args.run(),
            FaultArgs::Delay(args) => args.request()?,
            FaultArgs::Rate(args) => args.request()?,
            FaultArgs::Reorder(args) => args.request()?,
            FaultArgs::Drop(args) => {
                let loss = args.loss()?;
                let mut request = args.common.request("drop", Action::Drop(loss), Direction::To)?;
                request.grow(args.ramp)?;
                request
            }
            FaultArgs::Reject(args) => {
                let errno = (!args.packets_only).then_some(args.errno);
                let action = Action::Reject(Reject { answer: args.with, errno });
                let request = args.common.request("reject", action, Direction::To)?;
                Request { destroy_sockets: args.destroy_sockets, ..request }
            }
            FaultArgs::Duplicate(args) => {
                let mut request = args.common.request("duplicate", args.action(), Direction::To)?;
                request.grow(args.ramp())?;
                request
            }
            FaultArgs::Corrupt(args) => {
                let mut request = args.common.request("corrupt", args.action(), Direction::To)?;
                request.grow(args.ramp())?;
                request
            }
            FaultArgs::Partition(args) => {
                if !args.common.selector.names_remote() {
                    return Err(UsageError(
                        "a partition needs to know from what it cuts off: give --remote; to lose \
                         packets whatever the other side, use `chaos inject drop`"
                            .into(),
                    )
                    .into());
                }
                let action = match args.behavior {
                    Behavior::Drop => Action::Drop(Loss::Always),
                    Behavior::Reject => Action::Reject(Reject {
                        answer: Answer::Auto,
                        errno: Some(Errno::CONNECTION_REFUSED),
                    }),
                };
                args.common.request("partition", action, Direction::Both)?
            }
        };
        if request.dry_run {
            return dry_run::run(&request);
        }
        let _lock = take(&request.scopes(), request.sharing)?;
        live::run(&request)
    }
}

impl Request {
    fn grow(&mut self, ramp: ramp::RampArgs) -> Result<(), UsageError> {
        self.fault.ramp = ramp.within(self.fault.lasts)?;
        Ok(())
    }

    fn scopes(&self) -> Vec<RunScope> {
        let acting = self.fault.rules.iter().filter(|rule| rule.action != Action::Protect);
        let scopes =
            acting.flat_map(|rule| RunScope::of(&self.fault.netns, &rule.selector.devices));
        scopes.collect()
    }
}

/// The right to be at work there, until it is dropped.
fn take(scopes: &[RunScope], sharing: Sharing) -> anyhow::Result<ScopeLock> {
    ScopeLock::take(scopes, sharing).map_err(|error| match error {
        ScopeError::Busy(busy) => NotAllowed(vec![busy.to_string()]).into(),
        ScopeError::Journal(error) => FaultError::from(error).into(),
    })
}

impl DropArgs {
    fn loss(&self) -> Result<Loss, UsageError> {
        let Self { loss, exact, every, gemodel, ramp: _, common: _ } = self;
        Ok(match (loss, every, gemodel.as_slice()) {
            (Some(share), _, _) if *exact => Loss::Exact(*share),
            (Some(chance), _, _) => Loss::Random(*chance),
            (_, Some(n), _) => Loss::EveryNth(*n),
            (_, _, []) => Loss::Always,
            (_, _, [p, r, rest @ ..]) if rest.len() <= 2 => Loss::GilbertElliott {
                p: *p,
                r: *r,
                loss_in_bad: rest.first().copied().unwrap_or(Percent::ALL),
                loss_in_good: rest.get(1).copied().unwrap_or(Percent::ZERO),
            },
            (_, _, given) => {
                return Err(UsageError(format!(
                    "--gemodel takes two to four percentages, not {}: P,R[,BAD[,GOOD]], as in \
                     `--gemodel 1%,25%`",
                    given.len()
                )));
            }
        })
    }
}

impl CommonArgs {
    fn request(
        &self,
        name: &str,
        action: Action,
        default_direction: Direction,
    ) -> anyhow::Result<Request> {
        self.delaying(name, action, default_direction, None)
    }

    /// The same, for a rule that holds packets for so long at most.
    fn delaying(
        &self,
        name: &str,
        action: Action,
        default_direction: Direction,
        longest: Option<Span>,
    ) -> anyhow::Result<Request> {
        let Self { lasts, selector, seed, attach, trace_packets, exclusive, guards, dry_run, json } =
            self;
        let lasts = shape::lasting(*lasts)?;
        let netns = selector.namespace()?;
        let rule =
            Rule { name: name.into(), selector: selector.selector(default_direction)?, action };
        let mut rules = vec![rule];
        rules.extend(protection(&operator_sessions()));
        rules.extend(selector.protected().cloned());
        let extent = FaultExtent::of_rules(name, &rules, lasts);
        let extent = match longest {
            Some(longest) => extent.delaying(longest),
            None => extent,
        };
        let extent = Extent::of_fault(extent);
        let (clearance, protect) = guards.read()?.ask(None, None, &extent);
        let clearance = clearance.map_err(NotAllowed)?;
        rules.extend(protect);
        let mechanism = match attach {
            AttachArg::Auto => Mechanism::Auto,
            AttachArg::Tcx => Mechanism::Tcx,
            AttachArg::Clsact => Mechanism::Clsact,
        };
        let fault = NetworkFault {
            name: name.into(),
            netns,
            rules,
            lasts,
            seed: seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
            mechanism,
            detours: Detours::default(),
            ramp: Span::ZERO,
            trace_rate: *trace_packets,
        };
        let sharing = if *exclusive { Sharing::Alone } else { Sharing::Composing };
        Ok(Request {
            fault,
            clearance,
            sharing,
            destroy_sockets: false,
            dry_run: *dry_run,
            json: *json,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    /// A minus is the beginning of a bad value, not of an option that nobody knows.
    #[test]
    fn negative_values_are_told_from_options() {
        for line in [
            "drop --for -5s",
            "drop --for 1s --loss -1%",
            "delay --for 1s --latency -5ms",
            "delay --for 1s --latency 5ms --jitter -1ms",
            "rate --for 1s --rate -1mbit",
            "netem --for 1s --dev lo --latency -5ms",
        ] {
            let words = ["chaos", "inject"].into_iter().chain(line.split(' '));
            let refused = Cli::try_parse_from(words).unwrap_err().to_string();
            assert!(refused.contains("must not be negative"), "{line}: {refused}");
        }
    }
}
