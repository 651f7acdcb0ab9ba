//! Verdicts of logs that tests make up, in milliseconds.

use serde_json::{Value, json};

use super::*;
use crate::run::Event;

/// A log: a run with these probes and faults, and what happened in it.
struct Log {
    probes: Vec<Value>,
    faults: usize,
    lines: Vec<(u64, Value)>,
}

const MS: u64 = 1_000_000;

impl Log {
    /// With these faults, each armed, active, healing and healed then; the fault acted.
    fn with(faults: &[(&str, [u64; 4])]) -> Self {
        let mut log = Self { probes: Vec::new(), faults: faults.len(), lines: Vec::new() };
        for (name, [arming, active, healing, healed]) in faults {
            log.lines.extend([
                (*arming, json!({"arming": {"fault": name, "lasts": "1s", "activity": null,
                    "rules": [{"rule": name, "text": "drop every packet"}]}})),
                (*active, json!({"active": {"fault": name}})),
                (*healing, json!({"healing": {"fault": name}})),
                (*healed, json!({"healed": {"fault": name, "error": null, "remarks": [],
                    "evidence": [{"rule": name, "seen": 9, "matched": 9, "acted": 9, "bytes": 9}]}})),
            ]);
        }
        log
    }

    /// A probe of the steady state that is expected in these phases.
    fn probe(mut self, name: &str, [before, fault, after]: [bool; 3], more: Value) -> Self {
        let mut spec = json!({"name": name, "steady": true, "expected": "200", "detects": false,
            "during": {"before": before, "fault": fault, "after": after}, "within": null});
        let Value::Object(more) = more else { panic!("{more} is no map") };
        spec.as_object_mut().unwrap().extend(more);
        self.probes.push(spec);
        self
    }

    fn look(mut self, name: &str, role: &str, began: u64, ended: u64, met: bool) -> Self {
        self.lines.push((
            ended,
            json!({"done": {"name": name, "kind": "probe", "role": role,
            "began": began * MS, "began_wall": "", "took": (ended - began) * MS, "output": null,
            "error": null, "met": met, "seen": if met { "200" } else { "no answer" },
            "activity": null}}),
        ));
        self
    }

    /// Looks while the method runs: from, until, whether it was as expected.
    fn looks(self, name: &str, looks: &[(u64, u64, bool)]) -> Self {
        looks
            .iter()
            .fold(self, |log, (began, ended, met)| log.look(name, "during", *began, *ended, *met))
    }

    fn judged(mut self) -> Findings {
        self.lines.sort_by_key(|(at, _)| *at);
        let last = self.lines.last().map_or(0, |(at, _)| *at) + 1;
        self.lines.push((last, json!({"ended": {"left": [], "rolled_back": true}})));
        let began = json!({"began": {"format": 1, "tool": "0", "name": "n", "title": "t", "seed": 1,
            "host": "h", "platform": "p", "probes": self.probes, "faults": self.faults,
            "recovery_within": "2s", "recovery_stable": "100ms", "frequency": "10ms",
            "experiment": null}});
        self.lines.insert(0, (0, began));
        let lines = self.lines.iter();
        let events: Vec<Event> = lines
            .map(|(at, event)| {
                serde_json::from_value(json!({"at": at * MS, "wall": "", "event": event})).unwrap()
            })
            .collect();
        judge(&events).unwrap()
    }
}

const ALWAYS: [bool; 3] = [true, true, true];
const CUT: [u64; 4] = [100, 120, 500, 520];

/// A log in which `up` is well in every phase, but for one more look.
fn well_but(during: [bool; 3], more: Value, odd: (u64, u64, bool)) -> Findings {
    let phases = [(10, 20), (200, 210), (521, 529)];
    let last = during[2].then_some((1600, 1610, true));
    let mut log =
        Log::with(&[("cut", CUT)]).probe("up", during, more).look("up", "before", 1, 2, true);
    for ((began, ended), _) in phases.into_iter().zip(during).filter(|(_, expected)| *expected) {
        log = log.looks("up", &[(began, ended, true)]);
    }
    log.looks("up", &[odd]).looks("up", last.as_slice()).judged()
}

#[test]
fn a_look_that_hangs_across_the_end_of_the_fault_fails_it() {
    // From under the fault until long after it, until while it is healed; from before until under
    // it, until while it is armed; from while it is armed; across all of it.
    for odd in [(490, 1500), (490, 510), (90, 300), (90, 110), (110, 300), (90, 1500)] {
        let findings = well_but(ALWAYS, json!({}), (odd.0, odd.1, false));
        assert_eq!(findings.verdict, Verdict::Fail, "{odd:?}: {findings:#?}");
        let told = format!(
            "`up` under the fault: expected 200, got no answer at +{:.3} s",
            odd.1 as f64 / 1e3
        );
        assert!(findings.because.starts_with(&told), "{}", findings.because);
        let recovered = findings.judgements.iter().find(|one| one.question == Question::Recovered);
        assert_eq!(recovered.unwrap().status, Status::Holds, "{odd:?}");
    }
}

#[test]
fn only_what_is_expected_on_both_sides_of_a_change_is_judged_across_it() {
    // Healed meanwhile, so that what was to fail may succeed; or armed, the other way round.
    let odd = [
        ([false, true, false], (490, 1500)),
        ([false, true, false], (490, 510)),
        ([true, true, false], (490, 1500)),
        ([true, false, true], (90, 300)),
        ([false, true, true], (90, 300)),
        ([false, true, true], (110, 300)),
        // Within a change, or while it recovers.
        (ALWAYS, (102, 118)),
        (ALWAYS, (502, 518)),
        (ALWAYS, (505, 600)),
        (ALWAYS, (530, 600)),
    ];
    for (during, (began, ended)) in odd {
        let findings = well_but(during, json!({}), (began, ended, false));
        assert_eq!(findings.verdict, Verdict::Pass, "{during:?} {began} {ended}: {findings:#?}");
    }
    // As expected across a change: no news.
    let findings = well_but(ALWAYS, json!({}), (490, 1500, true));
    assert_eq!(findings.verdict, Verdict::Pass);
    assert_eq!(findings.expectations.iter().map(|one| one.looks).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn what_may_take_a_while_under_the_fault_may_fail_across_its_beginning() {
    let grace = json!({"within": "100ms"});
    for (began, ended, verdict) in
        [(90, 400, Verdict::Pass), (490, 1500, Verdict::Fail), (215, 510, Verdict::Pass)]
    {
        // A look of the fault's phase that is judged: after the grace.
        let findings = well_but(ALWAYS, grace.clone(), (began, ended, false));
        assert_eq!(findings.verdict, verdict, "{began} {ended}: {findings:#?}");
    }
}

#[test]
fn a_probe_that_hangs_until_it_is_too_late_to_look_again_fails() {
    let log = Log::with(&[("cut", CUT)])
        .probe("up", ALWAYS, json!({}))
        .look("up", "before", 1, 2, true)
        .looks("up", &[(10, 20, true), (200, 210, true), (490, 2700, false)]);
    let findings = log.judged();
    assert_eq!(findings.verdict, Verdict::Fail, "{findings:#?}");
    let recovered = findings.judgements.iter().find(|one| one.question == Question::Recovered);
    assert_eq!(recovered.unwrap().status, Status::Broken);
}

#[test]
fn between_two_faults_a_look_belongs_to_the_one_that_it_reaches_into() {
    let with = |during, began, ended| {
        let faults = [("one", CUT), ("two", [600, 620, 900, 920])];
        let log = Log::with(&faults).probe("up", during, json!({}));
        let mut log = log.look("up", "before", 1, 2, true);
        for (at, expected) in
            [10, 200, 700, 950].into_iter().zip([during[0], during[1], during[1], during[2]])
        {
            if expected {
                log = log.looks("up", &[(at, at + 1, true)]);
            }
        }
        log.looks("up", &[(began, ended, false)]).judged().verdict
    };
    // Out of the first, into the second, and from one into the other.
    for (began, ended) in [(490, 550), (550, 700), (490, 700), (610, 700)] {
        assert_eq!(with(ALWAYS, began, ended), Verdict::Fail, "{began} {ended}");
        assert_eq!(with([true, true, false], began, ended), Verdict::Pass, "{began} {ended}");
    }
    // Between the two it may be recovering from the first.
    for (began, ended) in [(530, 590), (590, 610)] {
        assert_eq!(with(ALWAYS, began, ended), Verdict::Pass, "{began} {ended}");
    }
    // A fault that goes on covers the change of another.
    let inner = [("outer", [100, 110, 900, 910]), ("inner", [300, 310, 400, 410])];
    let log = Log::with(&inner)
        .probe("up", [false, true, false], json!({}))
        .looks("up", &[(290, 450, false)]);
    assert_eq!(log.judged().verdict, Verdict::Fail);
}

const UNDER_FAULT: [bool; 3] = [false, true, false];

#[test]
fn the_time_to_detect_begins_with_the_fault_that_is_detected() {
    let faults = [("slow", CUT), ("silent", [2000, 2020, 4000, 4010])];
    let detects = json!({"detects": true, "within": "10s"});
    let log = |looks: &[(u64, u64, bool)]| {
        let log = Log::with(&faults).probe("noticed", UNDER_FAULT, detects.clone());
        log.looks("noticed", looks).judged().metrics
    };
    let metrics =
        log(&[(130, 140, false), (450, 460, false), (2100, 2110, false), (2500, 2570, true)]);
    assert_eq!(metrics.time_to_detect, Some(550 * MS), "from 2020 until 2570");
    assert_eq!(metrics.detect_bound, Some(470 * MS), "not yet at 2100");
    let first = log(&[(130, 140, false), (450, 460, true), (2100, 2110, true)]);
    assert_eq!(first.time_to_detect, Some(340 * MS));
    // Nothing says that it could not be seen before; it was looked at for another fault then.
    let at_once = log(&[(450, 460, false), (2100, 2110, true)]);
    assert_eq!((at_once.time_to_detect, at_once.detect_bound), (Some(90 * MS), Some(90 * MS)));
    assert_eq!(log(&[(450, 460, false)]).detect_bound, None);
    // Of two at the same time, either may be what is noticed.
    let both = [("outer", [0, 10, 900, 910]), ("inner", [300, 310, 800, 810])];
    let log = Log::with(&both).probe("noticed", UNDER_FAULT, detects);
    let metrics = log.looks("noticed", &[(400, 410, true)]).judged().metrics;
    assert_eq!(metrics.time_to_detect, Some(400 * MS));
}

#[test]
fn slow_looks_make_times_less_exact_and_the_bound_says_so() {
    // Looks every 10 ms that take 300: what counts is both together.
    let log = Log::with(&[("cut", CUT)])
        .probe("up", [true, false, true], json!({}))
        .probe("quick", [true, false, true], json!({}))
        .look("up", "before", 1, 2, true)
        .look("quick", "before", 1, 2, true)
        .looks(
            "up",
            &[(530, 830, false), (840, 1140, false), (1150, 1450, true), (1460, 1500, true)],
        )
        .looks("quick", &[(530, 540, false), (550, 560, true)]);
    let findings = log.judged();
    assert_eq!(findings.metrics.time_to_recover, Some(930 * MS), "from 520 until 1450");
    assert_eq!(findings.metrics.recover_bound, Some(610 * MS), "not yet at 840");
    let told = "time to recover      0.930 s (up to 0.610 s less)";
    assert!(crate::report::terminal(&findings).contains(told));
    assert!(
        crate::report::markdown(&findings)
            .contains("- time to recover: 0.930 s (up to 0.610 s less)")
    );
    let json: Value = serde_json::from_str(&crate::report::json(&findings).unwrap()).unwrap();
    assert_eq!(json["metrics"]["recover_bound"], 610 * MS);
    // Up at the first look: it may have been all along.
    let log = Log::with(&[("cut", CUT)]).probe("up", [false, false, true], json!({}));
    let metrics = log.looks("up", &[(530, 830, true)]).judged().metrics;
    assert_eq!((metrics.time_to_recover, metrics.recover_bound), (Some(310 * MS), Some(310 * MS)));
}

#[test]
fn a_share_of_looks_may_fail_and_not_one_more() {
    let status = |share: &str, good: u64, bad: u64| {
        let looks: Vec<_> = (0..good + bad).map(|n| (130 + n, 131 + n, n >= bad)).collect();
        let log = Log::with(&[("cut", CUT)]).probe("up", UNDER_FAULT, json!({"share": share}));
        let findings = log.looks("up", &looks).judged();
        let up = findings.expectations.iter().find(|one| one.phase.is_some()).unwrap();
        assert_eq!((up.looks as u64, up.failures as u64), (good + bad, bad));
        up.status
    };
    for (share, good, bad, expected) in [
        ("95%", 94, 6, Status::Broken),
        ("95%", 95, 5, Status::Holds),
        ("95%", 96, 4, Status::Holds),
        // Shares that have no exact binary fraction.
        ("90%", 9, 1, Status::Holds),
        ("90%", 8, 2, Status::Broken),
        ("7%", 7, 93, Status::Holds),
        ("7%", 6, 94, Status::Broken),
        ("0.1%", 1, 299, Status::Holds),
        ("100%", 99, 1, Status::Broken),
        ("0%", 0, 10, Status::Holds),
    ] {
        assert_eq!(status(share, good, bad), expected, "{good} of {} at {share}", good + bad);
    }
}
