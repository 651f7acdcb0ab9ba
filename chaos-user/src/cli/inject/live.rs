//! Injecting for real.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::Serialize;

use super::{Request, sockets};
use crate::cli::table;
use crate::exit::Exit;
use crate::experiment::units::Span;
use crate::fault::{
    Active, Fault, FaultError, Journal, MeasuredDelay, NetworkFault, RuleEvidence, Session, doubt,
    preview, proven,
};
use crate::guard::Clearance;
use crate::kernel::netlink::sockets::destroy;
use crate::plan::growth;

#[derive(Debug, Serialize)]
struct Outcome<'a> {
    run: &'a str,
    fault: &'a str,
    seed: u64,
    ramp: Option<String>,
    attached: Vec<String>,
    evidence: &'a [RuleEvidence],
    held_by: &'a [String],
    delays: &'a [MeasuredDelay],
    sockets_destroyed: usize,
    remarks: &'a [String],
    events: &'a [Fault],
    interrupted: bool,
    acted: bool,
    clearance: &'a Clearance,
}

/// How often progress is shown and the kernel's buffers are read.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(request: &Request) -> anyhow::Result<Exit> {
    let signals = block_signals()?;
    let run = format!("inject-{}", std::process::id());
    let fault = &request.fault;
    if !request.json {
        // How far it reaches is said before anything is done, but not of what cannot be done.
        preview(fault)?;
        let (hit, there) = sockets::hit_by(fault)?;
        let Request { clearance, .. } = request;
        eprintln!(
            "{clearance}blast radius: {}; now {} of {there} live sockets",
            clearance.extent,
            hit.len()
        );
    }
    let unguarded = Arc::new(OnceLock::new());
    let lost = Arc::clone(&unguarded);
    let journal = Journal::guarded(&run, move |why| drop(lost.set(why.to_owned())))
        .map_err(FaultError::from)?;
    let run = journal.run().to_owned();
    let mut active = Session::start_in(&journal, std::slice::from_ref(fault))?;
    let attached: Vec<String> = active.attached().map(ToString::to_string).collect();
    let held_by: Vec<String> = active.holders().map(ToOwned::to_owned).collect();
    if !request.json {
        let rules = &fault.rules;
        let NetworkFault { name, netns, lasts, seed, .. } = fault;
        eprintln!("{name} in {netns} for {lasts}{}, seed {seed}", growth::words(fault.ramp));
        for rule in rules {
            eprintln!("  {}: {}, {}", rule.name, rule.action, rule.selector);
        }
        eprintln!("  attached: {}", attached.join(", "));
        for holder in &held_by {
            eprintln!("  held by: {holder}");
        }
        eprintln!("  run {run}; Ctrl-C heals");
    }
    let sockets_destroyed = if request.destroy_sockets { destroy_matching(request)? } else { 0 };
    let interrupted = watch(request, &mut active, &signals, &unguarded)?;
    active.stop();
    active.drain_events();
    let events: Vec<Fault> = active.events().cloned().collect();
    let remarks = active.remarks()?;
    let delays = active.delays()?;
    let evidence = active.heal()?;
    drop(journal);
    if let Some(why) = unguarded.get() {
        bail!("{why}; healed");
    }
    let acted = proven(&evidence, &delays) || sockets_destroyed > 0;
    if request.json {
        let outcome = Outcome {
            run: &run,
            fault: &fault.name,
            seed: fault.seed,
            ramp: (fault.ramp > Span::ZERO).then(|| fault.ramp.to_string()),
            attached,
            evidence: &evidence,
            held_by: &held_by,
            delays: &delays,
            sockets_destroyed,
            remarks: &remarks,
            events: &events,
            interrupted,
            acted,
            clearance: &request.clearance,
        };
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        print!("{}", table::evidence(&evidence));
        for delay in &delays {
            println!("  {delay}");
        }
        if request.destroy_sockets {
            println!("  {sockets_destroyed} sockets destroyed");
        }
        for remark in &remarks {
            println!("  note: {remark}");
        }
        if let Some(doubt) = doubt(&evidence, &delays) {
            println!("  note: {doubt}");
        }
        println!("{}", closing(interrupted, acted, &evidence));
    }
    Ok(match (interrupted, acted) {
        (true, _) => Exit::Aborted,
        (false, true) => Exit::Pass,
        (false, false) => Exit::Inconclusive,
    })
}

fn closing(interrupted: bool, acted: bool, evidence: &[RuleEvidence]) -> &'static str {
    match (interrupted, acted) {
        (true, _) => "interrupted; healed",
        (_, true) => "the fault acted; healed",
        (_, false) if evidence.iter().any(RuleEvidence::is_proof) => {
            "INCONCLUSIVE: nothing shows that packets were held as they were to be; healed"
        }
        (_, false) if evidence.iter().any(|rule| rule.matched > 0) => {
            "INCONCLUSIVE: packets matched, but the fault acted on none of them; healed"
        }
        _ => "INCONCLUSIVE: no packet matched; healed",
    }
}

/// Waits until the fault is over; true if it was interrupted.
fn watch(
    request: &Request,
    active: &mut Active,
    signals: &SignalFd,
    unguarded: &OnceLock<String>,
) -> anyhow::Result<bool> {
    let live = !request.json && std::io::stderr().is_terminal();
    let mut interrupted = false;
    while !interrupted && unguarded.get().is_none() && !active.remaining().is_zero() {
        interrupted = wait(signals, active.remaining())?;
        active.drain_events();
        for line in active.trace_lines() {
            eprintln!("  kernel: {line}");
        }
        if live {
            let seconds = active.remaining().as_secs_f64();
            let sums = active.evidence()?.iter().fold((0, 0, 0), |(seen, matched, acted), rule| {
                (seen + rule.seen, matched + rule.matched, acted + rule.acted)
            });
            let (seen, matched, acted) = sums;
            eprint!("\r\x1b[K  {seconds:.1} s left: seen {seen}, matched {matched}, acted {acted}");
            let _ = std::io::stderr().flush();
        }
    }
    if live {
        eprintln!();
    }
    Ok(interrupted)
}

/// Waits a moment, not beyond `remaining`; true if a signal came.
pub(super) fn wait(signals: &SignalFd, remaining: Duration) -> anyhow::Result<bool> {
    let wait = remaining.min(TICK).max(Duration::from_millis(1));
    let mut ready = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::from(100u8));
    // Woken early or not, the caller's loop looks at the clock.
    let _ = poll(&mut ready, timeout);
    // SIGTSTP is only kept from stopping this process, which would count as its death.
    let told = signals.read_signal().context("read signals")?;
    Ok(told.is_some_and(|told| told.ssi_signo != Signal::SIGTSTP as u32))
}

/// Signals are read here, between two steps, so that nothing is left half done. Threads inherit
/// the mask.
pub(super) fn block_signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP]
    {
        set.add(signal);
    }
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None).context("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("watch for signals")
}

fn destroy_matching(request: &Request) -> anyhow::Result<usize> {
    const TCP: u8 = 6;
    let (hit, _) = sockets::hit_by(&request.fault)?;
    let mut destroyed = 0;
    for socket in hit.iter().filter(|socket| socket.protocol == TCP) {
        let outcome = request.fault.netns.run(|| destroy(socket))?;
        destroyed += usize::from(outcome.context("destroy a socket (CONFIG_INET_DIAG_DESTROY)")?);
    }
    Ok(destroyed)
}
