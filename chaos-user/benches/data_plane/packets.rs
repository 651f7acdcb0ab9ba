//! What the classifier costs per packet, above an empty program measured alternately.

use anyhow::{Result, ensure};
use chaos::experiment::units::{Direction, Percent, Protocol};
use chaos::plan::{Action, Connections, Loss};

use chaos_common::decide::mix;

use crate::packet::{ACK, CLIENT, SYN, TCP, UDP, packet, peer};
use crate::report::{Report, Row};
use crate::stats::Spread;
use crate::subject::{Rules, Subject};

const REPEAT: u32 = 100_000;
const ROUNDS: usize = 15;

/// Rounds of measurements that run the program once.
const SINGLE_ROUNDS: usize = 4000;

const SIZES: [u32; 4] = [1, 100, 1000, 10_000];

const NEXT: i32 = -1;
const SHOT: i32 = 2;
const REDIRECT: i32 = 7;

const RULES: Rules = Rules {
    count: 1,
    v6: false,
    protocol: Protocol::UDP,
    action: Action::Drop(Loss::Always),
    live: true,
    shapes: 1,
    connections: None,
    direction: Direction::To,
};

/// Everything that is measured through test runs.
pub(crate) fn measure(report: &mut Report, seed: u64) -> Result<()> {
    served(report)?;
    dropped(report)?;
    handshakes(report)?;
    single_misses(report, "miss, one flow", |_, _| packet(peer(false, 0), UDP, 0, CLIENT))?;
    single_misses(report, "miss, new flow of a random rule", |round, count| {
        let random = mix(seed, round);
        let rule = (random >> 32) % u64::from(count);
        packet(peer(false, rule as u32), UDP, 0, random as u16)
    })?;
    shapes(report)
}

/// Disarmed, and served from the flow cache.
fn served(report: &mut Report) -> Result<()> {
    let kinds = [
        ("udp v4", false, UDP, Protocol::UDP),
        ("tcp v4", false, TCP, Protocol::TCP),
        ("udp v6", true, UDP, Protocol::UDP),
        ("tcp v6", true, TCP, Protocol::TCP),
    ];
    for (kind, v6, number, protocol) in kinds {
        let hit = packet(peer(v6, 0), number, ACK, CLIENT);
        let other = packet(peer(v6, 7), number, ACK, CLIENT);
        let inert = Rules { v6, protocol, live: false, ..RULES };
        let mut subject = Subject::armed(&inert)?;
        add(report, format!("no match, cached, {kind}"), &mut subject, &other, NEXT, Some(30.0))?;
        add(report, format!("match, inert rule, {kind}"), &mut subject, &hit, NEXT, Some(30.0))?;
        let counters = subject.counters()?;
        ensure!(counters.misses == 2, "{} misses: the flow cache did not serve", counters.misses);
        subject.disarm();
        add(report, format!("disarmed, {kind}"), &mut subject, &hit, NEXT, Some(5.0))?;
    }
    Ok(())
}

fn dropped(report: &mut Report) -> Result<()> {
    for (family, v6) in [("v4", false), ("v6", true)] {
        let hit = packet(peer(v6, 0), UDP, 0, CLIENT);
        let egress = Rules { v6, ..RULES };
        let mut subject = Subject::armed(&egress)?;
        add(report, format!("drop at egress, udp {family}"), &mut subject, &hit, REDIRECT, None)?;
        let ingress = Rules { v6, direction: Direction::From, ..RULES };
        let mut subject = Subject::armed(&ingress)?;
        // Arriving packets name the rule's address as their source.
        let mut arriving = packet(peer(v6, 0), UDP, 0, CLIENT);
        swap_ends(&mut arriving, v6);
        add(report, format!("drop at ingress, udp {family}"), &mut subject, &arriving, SHOT, None)?;
    }
    let hit = packet(peer(false, 0), UDP, 0, CLIENT);
    // A share so small that nothing is dropped, and every packet is decided on.
    let Some(rare) = Percent::from_ppb(1) else { return Ok(()) };
    for (name, loss) in [("random", Loss::Random(rare)), ("exact", Loss::Exact(rare))] {
        let mut subject = Subject::armed(&Rules { action: Action::Drop(loss), ..RULES })?;
        add(report, format!("decided to pass, {name}, udp v4"), &mut subject, &hit, NEXT, None)?;
    }
    Ok(())
}

/// SYNs while rules tell new connections from established ones: never served from the cache, so
/// this is the full search in a warm CPU cache, with one more table for the connection.
fn handshakes(report: &mut Report) -> Result<()> {
    let hit = packet(peer(false, 0), TCP, SYN, CLIENT);
    let mut subjects = Vec::new();
    for count in SIZES {
        let rules = Rules {
            count,
            protocol: Protocol::TCP,
            live: false,
            connections: Some(Connections::New),
            ..RULES
        };
        subjects.push((count, Subject::armed(&rules)?, Vec::new(), Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, subject, above, empty) in &mut subjects {
            let (difference, baseline) = abba(subject, &hit, NEXT)?;
            above.push(difference);
            empty.push(baseline);
        }
    }
    let mut medians = Vec::new();
    for (count, subject, above, empty) in subjects {
        let counters = subject.counters()?;
        ensure!(counters.misses == counters.seen, "the flow cache served a handshake");
        let name = format!("handshake, searched, {count} rules");
        medians.push(add_row(report, name, above, empty, None));
    }
    flatness(report, "handshake, 10000 rules over 1", &medians);
    Ok(())
}

/// Flow cache misses one by one: the generation moves on before each, and one run is timed, less
/// one run of the empty program right after it. The system calls between them leave the CPU's
/// caches colder than a busy link would.
fn single_misses(
    report: &mut Report,
    name: &str,
    chosen: impl Fn(u64, u32) -> Vec<u8>,
) -> Result<()> {
    let mut subjects = Vec::new();
    for count in SIZES {
        let subject = Subject::armed(&Rules { count, live: false, ..RULES })?;
        subjects.push((count, subject, Vec::new(), Vec::new(), Vec::new()));
    }
    for round in 0..SINGLE_ROUNDS {
        for (count, subject, above, empty, bare) in &mut subjects {
            let bytes = chosen(round as u64, *count);
            subject.forget_flows()?;
            let miss = subject.classify(&bytes, 1)?;
            let baseline = subject.baseline(&bytes, 1)?;
            ensure!(miss.code == NEXT, "the rule acted outside its time window");
            above.push(miss.ns - baseline.ns);
            empty.push(baseline.ns);
            // Of another packet: the first one's rule is in the CPU's caches now.
            let bytes = chosen(!(round as u64), *count);
            let lookup = subject.lookup(&bytes, 1)?;
            ensure!(lookup.code == NEXT, "the packet has no rule, or one that has begun");
            bare.push(lookup.ns - subject.baseline(&bytes, 1)?.ns);
        }
    }
    let mut medians = Vec::new();
    for (count, subject, above, empty, bare) in subjects {
        let counters = subject.counters()?;
        ensure!(counters.misses == SINGLE_ROUNDS as u64, "the flow cache served a stale entry");
        let baseline = empty.clone();
        add_row(report, format!("{name}, {count} rules: the lookup"), bare, baseline, None);
        medians.push(add_row(report, format!("{name}, {count} rules"), above, empty, None));
    }
    flatness(report, &format!("{name}, 10000 rules over 1"), &medians);
    Ok(())
}

/// What each distinct mask combination adds to a miss.
fn shapes(report: &mut Report) -> Result<()> {
    let hit = packet(peer(false, 0), TCP, SYN, CLIENT);
    for shapes in [8, 16] {
        let rules = Rules {
            count: 1000,
            shapes,
            protocol: Protocol::TCP,
            live: false,
            connections: Some(Connections::New),
            ..RULES
        };
        let mut subject = Subject::armed(&rules)?;
        let name = format!("handshake, searched, 1000 rules, {shapes} masks");
        add(report, name, &mut subject, &hit, NEXT, None)?;
    }
    Ok(())
}

fn add(
    report: &mut Report,
    name: String,
    subject: &mut Subject,
    bytes: &[u8],
    code: i32,
    aim: Option<f64>,
) -> Result<()> {
    let (mut above, mut empty) = (Vec::new(), Vec::new());
    // The first packet of the flow fills the cache.
    subject.classify(bytes, 1)?;
    for _ in 0..ROUNDS {
        let (difference, baseline) = abba(subject, bytes, code)?;
        above.push(difference);
        empty.push(baseline);
    }
    add_row(report, name, above, empty, aim);
    Ok(())
}

/// Empty, classifier, classifier, empty: a drift of the machine's speed cancels out.
fn abba(subject: &mut Subject, bytes: &[u8], code: i32) -> Result<(f64, f64)> {
    let before = subject.baseline(bytes, REPEAT)?;
    let first = subject.classify(bytes, REPEAT)?;
    let second = subject.classify(bytes, REPEAT)?;
    let after = subject.baseline(bytes, REPEAT)?;
    for timed in [first, second] {
        ensure!(timed.code == code, "the classifier returned {} instead of {code}", timed.code);
    }
    let baseline = f64::midpoint(before.ns, after.ns);
    Ok((f64::midpoint(first.ns, second.ns) - baseline, baseline))
}

fn add_row(
    report: &mut Report,
    name: String,
    above: Vec<f64>,
    empty: Vec<f64>,
    aim: Option<f64>,
) -> f64 {
    let (value, baseline) = (Spread::of(above), Spread::of(empty).median);
    let ratio = (baseline > 0.0).then(|| (baseline + value.median) / baseline);
    report.add(name, Row { unit: "ns".into(), value, ratio, aim });
    value.median
}

fn flatness(report: &mut Report, name: &str, medians: &[f64]) {
    let [one, .., most] = medians else { return };
    let ratio = most / one;
    let value = Spread { median: ratio, low: ratio, high: ratio };
    report.add(name, Row { unit: "×".into(), value, ratio: None, aim: Some(1.2) });
}

/// Exchanges the addresses and ports of a packet.
fn swap_ends(bytes: &mut [u8], v6: bool) {
    let (first, width, ports) = if v6 { (22, 16, 54) } else { (26, 4, 34) };
    for i in 0..width {
        bytes.swap(first + i, first + width + i);
    }
    for i in 0..2 {
        bytes.swap(ports + i, ports + 2 + i);
    }
}
