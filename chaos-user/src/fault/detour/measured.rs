//! What is known about the packets of a rule that were held, and whether it proves that they were.
//! Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::experiment::units::Span;
use crate::fault::RuleEvidence;
use crate::kernel::bpf::HeldTimes;
use crate::plan::Impairment;

/// How long packets of a rule were held, by the clock of the machine, and what else became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredDelay {
    /// The rule's place among the fault's rules.
    #[serde(skip)]
    pub slot: usize,
    /// The rule's name.
    pub rule: String,
    /// Packets held and released, as far as they were measured.
    pub packets: u64,
    /// Mean, in ns; `None` if no packet was measured.
    pub mean_ns: Option<u64>,
    /// Median, in ns.
    pub p50_ns: Option<u64>,
    /// 99th percentile, in ns.
    pub p99_ns: Option<u64>,
    /// The shortest time, in ns, for which the fault's setting lets it hold a packet.
    #[serde(default)]
    pub least_ns: u64,
    /// Whether the setting lets some packets pass without holding them.
    #[serde(default)]
    pub some_overtake: bool,
    /// What the holder counted.
    #[serde(default)]
    pub counters: HeldCounters,
}

/// What a holder counted of one rule's packets; `None` where it does not count that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldCounters {
    /// Held and given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
    /// Dropped because a queue or limit was full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Given back before their time because the fault was healed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<u64>,
    /// Still held when the fault was healed, and lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Passed at once because there was no room to hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypassed: Option<u64>,
    /// Left more than 1 ms after their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
    /// Chosen to overtake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overtook: Option<u64>,
    /// Not taken back by the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

impl HeldCounters {
    /// What is worth a warning.
    pub(in crate::fault) fn remarks(&self, rule: &str) -> Vec<String> {
        let Self { released: _, dropped, early: _, lost, bypassed, late, overtook: _, refused } =
            self;
        [
            (dropped, "found their queue full and were dropped"),
            (lost, "were still held when the fault was healed, and are lost"),
            (bypassed, "could not be held and passed at once"),
            (late, "left the delay line more than 1 ms late"),
            (refused, "were not taken back by the kernel, and are lost"),
        ]
        .into_iter()
        .filter_map(|(count, what)| Some((count.filter(|count| *count > 0)?, what)))
        .map(|(count, what)| format!("{count} packets of `{rule}` {what}"))
        .collect()
    }
}

/// What measurements say about a rule whose packets were taken aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Packets were held.
    Held,
    /// Nothing shows that one was.
    Unseen,
    /// They were held for less than the setting allows.
    TooShort(u64),
}

/// Clocks and buckets of histograms are no finer than this.
const TOLERANCE_NS: u64 = 50_000;

impl MeasuredDelay {
    /// Of the rule at `slot`: the mean, the median and the 99th percentile of `packets` times.
    pub(super) fn new(slot: usize, rule: String, packets: u64, times: [Duration; 3]) -> Self {
        let [mean_ns, p50_ns, p99_ns] = times.map(|time| Some(time.as_nanos() as u64));
        Self { slot, rule, packets, mean_ns, p50_ns, p99_ns, ..Self::default() }
    }

    /// The same, of what the kernel has measured; `None` if that is nothing.
    pub(super) fn by_kernel(slot: usize, rule: String, held: &HeldTimes) -> Option<Self> {
        let times = [held.mean()?, held.quantile(0.5)?, held.quantile(0.99)?];
        Some(Self::new(slot, rule, held.count(), times))
    }

    /// Adds what the setting allows and what the holder counted.
    pub(super) fn of(
        self,
        slot: usize,
        rule: String,
        smallest: &Impairment,
        counters: HeldCounters,
    ) -> Self {
        let least_ns = if smallest.may_hold_nothing() { Span::ZERO } else { smallest.least() };
        let some_overtake = smallest.overtake.is_some();
        Self { slot, rule, least_ns: least_ns.nanos(), some_overtake, counters, ..self }
    }

    fn finding(&self) -> Finding {
        let early = self.counters.early.unwrap_or(0);
        let Some(median) = self.p50_ns.filter(|_| self.packets > 0) else {
            // What a queue had no room for, or never came back, was held for all that it matters.
            let held = [Some(early), self.counters.lost, self.counters.dropped];
            let held = held.into_iter().flatten().any(|count| count > 0);
            return if held { Finding::Held } else { Finding::Unseen };
        };
        // Those that overtake may be more than half of a few packets.
        let time = if self.some_overtake { self.p99_ns.unwrap_or(median) } else { median };
        let enough = time.saturating_add(time / 50).saturating_add(TOLERANCE_NS);
        // Healing gave back so many before their time that the rest says nothing.
        if enough >= self.least_ns || early.saturating_mul(2) >= self.packets {
            Finding::Held
        } else {
            Finding::TooShort(time)
        }
    }
}

/// Why a fault that acted on packets by its counters did nothing to them by its measurements;
/// `None` if nothing speaks against it.
pub fn doubt(evidence: &[RuleEvidence], delays: &[MeasuredDelay]) -> Option<String> {
    let measured = |rule: &RuleEvidence| delays.iter().find(|one| one.rule == rule.rule);
    let acting = || evidence.iter().filter(|rule| rule.is_proof());
    let ms = |ns: u64| Duration::from_nanos(ns).as_secs_f64() * 1e3;
    for one in acting().filter_map(measured) {
        if let Finding::TooShort(time) = one.finding() {
            let which = if one.some_overtake { "p99" } else { "p50" };
            return Some(format!(
                "`{}` held its packets for {:.3} ms ({which}), and its setting allows no less than {:.3} ms",
                one.rule,
                ms(time),
                ms(one.least_ns)
            ));
        }
    }
    let held =
        |rule: &RuleEvidence| measured(rule).is_none_or(|one| one.finding() == Finding::Held);
    if acting().any(held) {
        return None;
    }
    let rule = acting().next()?;
    let (rule, acted) = (&rule.rule, rule.acted);
    Some(format!("`{rule}` took {acted} packets aside, and nothing shows that one was held"))
}

/// Whether a fault did something, by its counters and by its measurements.
pub fn proven(evidence: &[RuleEvidence], delays: &[MeasuredDelay]) -> bool {
    evidence.iter().any(RuleEvidence::is_proof) && doubt(evidence, delays).is_none()
}

impl fmt::Display for MeasuredDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| Duration::from_nanos(ns).as_secs_f64() * 1e3;
        let Self { rule, packets, mean_ns, p50_ns, p99_ns, .. } = self;
        let (Some(mean), Some(p50), Some(p99)) = (*mean_ns, *p50_ns, *p99_ns) else {
            return write!(f, "{rule}: no packet measured");
        };
        let (mean, p50, p99) = (ms(mean), ms(p50), ms(p99));
        write!(
            f,
            "{rule}: {packets} packets held, mean {mean:.3} ms, p50 {p50:.3} ms, p99 {p99:.3} ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn evidence(acted: u64) -> Vec<RuleEvidence> {
        let rule = "slow".to_owned();
        vec![RuleEvidence { rule, seen: 9, matched: acted, acted, bytes: 60 * acted }]
    }

    fn delay(packets: u64, p50: u64, least_ns: u64) -> MeasuredDelay {
        let times = [p50, p50, 2 * p50].map(Duration::from_nanos);
        let times = if packets > 0 { Some(times) } else { None };
        let rule = "slow".to_owned();
        let bare = times.map_or_else(MeasuredDelay::default, |times| {
            MeasuredDelay::new(0, String::new(), packets, times)
        });
        MeasuredDelay { rule, least_ns, ..bare }
    }

    #[test]
    fn what_was_held_as_long_as_was_asked_for_is_proven() {
        for (p50, least) in [(50 * MS, 50 * MS), (49 * MS + MS / 2, 50 * MS), (20_000, 60_000)] {
            let delays = [delay(10, p50, least)];
            assert_eq!(doubt(&evidence(10), &delays), None, "{p50} {least}");
            assert!(proven(&evidence(10), &delays));
        }
        // Rules that hold nothing need no measurement, and what did not act is not proven.
        assert!(proven(&evidence(1), &[]));
        assert!(!proven(&evidence(0), &[delay(10, MS, MS)]));
        assert_eq!(doubt(&evidence(0), &[delay(0, 0, MS)]), None);
    }

    #[test]
    fn redirected_is_not_held() {
        let unseen = doubt(&evidence(7), &[delay(0, 0, 50 * MS)]).unwrap();
        assert_eq!(unseen, "`slow` took 7 packets aside, and nothing shows that one was held");
        for (p50, least) in [(0, 50 * MS), (20_000, MS), (45 * MS, 50 * MS)] {
            let short = doubt(&evidence(7), &[delay(7, p50, least)]).unwrap();
            assert!(short.contains("(p50), and its setting allows no less than"), "{short}");
            assert!(!proven(&evidence(7), &[delay(7, p50, least)]));
        }
    }

    #[test]
    fn what_healing_cut_short_was_held() {
        let early = |packets, early| MeasuredDelay {
            counters: HeldCounters { early: Some(early), ..HeldCounters::default() },
            ..delay(packets, 3 * MS, 500 * MS)
        };
        assert!(proven(&evidence(7), &[early(0, 3)]));
        assert!(proven(&evidence(7), &[early(6, 3)]));
        assert!(!proven(&evidence(7), &[early(7, 3)]), "most had their time");
        let lost = HeldCounters { lost: Some(7), ..HeldCounters::default() };
        assert!(proven(&evidence(7), &[MeasuredDelay { counters: lost, ..early(0, 0) }]));
        let bypassed = HeldCounters { bypassed: Some(7), ..HeldCounters::default() };
        assert!(!proven(&evidence(7), &[MeasuredDelay { counters: bypassed, ..early(0, 0) }]));
    }

    #[test]
    fn those_that_overtake_are_not_held() {
        let some_overtake = MeasuredDelay { some_overtake: true, ..delay(5, 60 * MS, 100 * MS) };
        assert!(proven(&evidence(5), &[some_overtake]));
        let none_held = MeasuredDelay { some_overtake: true, ..delay(5, MS, 100 * MS) };
        assert!(doubt(&evidence(5), &[none_held]).unwrap().contains("2.000 ms (p99)"));
    }

    #[test]
    fn one_rule_that_held_packets_is_enough_unless_another_is_contradicted() {
        let two = |acted| {
            let other = RuleEvidence { rule: "other".into(), ..evidence(acted).remove(0) };
            [evidence(3), vec![other]].concat()
        };
        let other = |one: MeasuredDelay| MeasuredDelay { rule: "other".into(), ..one };
        let held = delay(3, 50 * MS, 50 * MS);
        assert!(proven(&two(1), &[held.clone(), other(delay(0, 0, 50 * MS))]));
        assert!(!proven(&two(1), &[held.clone(), other(delay(1, 0, 50 * MS))]));
        assert!(proven(&two(0), &[held, other(delay(1, 0, 50 * MS))]));
    }

    #[test]
    fn remarks_are_about_what_went_wrong() {
        let counters = HeldCounters {
            dropped: Some(3),
            late: Some(0),
            overtook: Some(9),
            refused: Some(1),
            ..HeldCounters::default()
        };
        assert_eq!(
            counters.remarks("slow"),
            [
                "3 packets of `slow` found their queue full and were dropped",
                "1 packets of `slow` were not taken back by the kernel, and are lost",
            ]
        );
        let json = serde_json::to_value(counters).unwrap();
        assert_eq!(json["overtook"], 9);
        assert!(json.get("lost").is_none());
    }
}
