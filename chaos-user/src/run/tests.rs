//! The conductor in a world that tests make up, and the log it leaves.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::exit::Exit;
use crate::experiment::{Activity, Experiment, FaultSpec, Observation, Redactor};
use crate::fault::RuleEvidence;
use crate::guard::{Approval, Clearance, Extent};
use crate::report::{html, journal, json, junit, markdown, terminal};
use crate::verdict::{Findings, Question, Status, Verdict, judge};

/// Answers by probe name; a probe ending in `-under-fault` answers only while the fault is active.
#[derive(Default)]
struct Made {
    active: AtomicBool,
    injected: AtomicU64,
    healed: AtomicU64,
    acts: u64,
    /// Fails these probes while the fault is active, and for so many looks after it.
    breaks: BTreeMap<&'static str, u64>,
    left: Mutex<BTreeMap<String, u64>>,
    dead: bool,
    unhealable: bool,
    /// How many manual steps it takes until `back` holds again.
    needs: u64,
    /// How long an activity named `slow-…` takes.
    slow: Duration,
    steps: AtomicU64,
    /// Where it writes when `up` is looked at under the fault.
    log: Option<tempfile::NamedTempFile>,
}

impl Made {
    fn acting() -> Self {
        Self { acts: 7, ..Self::default() }
    }
}

impl World for &Made {
    fn perform(&self, activity: &Activity) -> Observation {
        let name = activity.name.as_str();
        let active = self.active.load(Ordering::SeqCst);
        let mut fails = self.dead;
        if let Some(looks) = self.breaks.get(name) {
            let mut left = self.left.lock().unwrap();
            let left = left.entry(name.to_owned()).or_insert(*looks);
            fails |= active;
            if !active && self.healed.load(Ordering::SeqCst) > 0 && *left > 0 {
                *left -= 1;
                fails = true;
            }
        }
        if name == "back" && self.healed.load(Ordering::SeqCst) > 0 {
            fails |= self.steps.load(Ordering::SeqCst) < self.needs;
        }
        if name.starts_with("slow-") {
            std::thread::sleep(self.slow);
        }
        if name.starts_with("step-") {
            self.steps.fetch_add(1, Ordering::SeqCst);
        }
        if let (Some(log), "up", true) = (&self.log, name, active) {
            writeln!(log.as_file(), "ERROR s3cret is gone").unwrap();
        }
        if name == "cut-off" {
            fails = active && self.acts > 0;
        }
        let error = fails.then(|| "no answer".to_owned());
        Observation { output: json!({"status": 200, "body": "s3cret"}), error, took: 1000 }
    }

    fn explain(&self, name: &str, _: &FaultSpec) -> Result<Vec<RuleText>, Trouble> {
        Ok(vec![RuleText { rule: name.to_owned(), text: "drop every packet".into() }])
    }

    fn inject<'a>(&'a self, _: &str, _: &FaultSpec) -> Result<Box<dyn ActiveFault + 'a>, Trouble> {
        self.injected.fetch_add(1, Ordering::SeqCst);
        self.active.store(true, Ordering::SeqCst);
        Ok(Box::new(InMade(self)))
    }

    fn logs(&self) -> Vec<LogFile> {
        let file = |log: &tempfile::NamedTempFile| LogFile {
            source: "server/shop".into(),
            path: log.path().to_owned(),
        };
        self.log.iter().map(file).collect()
    }

    fn nodes(&self) -> Vec<(String, Vec<String>)> {
        Vec::new()
    }
}

struct InMade<'a>(&'a Made);

impl ActiveFault for InMade<'_> {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        self.0.active.store(false, Ordering::SeqCst);
        self.0.healed.fetch_add(1, Ordering::SeqCst);
        if self.0.unhealable {
            return Err(Trouble { text: "the qdisc is still there".into(), exit: Exit::NotHealed });
        }
        let (rule, acted) = ("cut".into(), self.0.acts);
        let one = RuleEvidence { rule, seen: 9, matched: acted, acted, bytes: 60 * acted };
        Ok((vec![one], vec![]).into())
    }
}

fn experiment() -> Experiment {
    let probe = |name: &str, during: Value, tolerance: Value| {
        json!({"name": name, "during": during, "tolerance": tolerance,
               "provider": {"type": "process", "path": "true"}})
    };
    let step = |name: &str| json!({"name": name, "provider": {"type": "process", "path": "true"}});
    let probe_without_phases = |name: &str| json!({"name": name, "tolerance": 200, "provider": {"type": "process", "path": "true"}});
    let text = json!({
        "title": "Made up", "secrets": {"all": {"token": "s3cret"}},
        "steady-state-hypothesis": {"title": "all is well", "probes": [
            probe("up", json!("always"), json!(200)),
            probe("cut-off", json!("fault"), json!({"type": "fails"})),
            probe("back", json!(["before", "after"]), json!(200)),
        ]},
        "method": [{"name": "cut", "type": "action", "provider":
            {"type": "chaos", "fault": "drop", "duration": "400ms"}}],
        "rollbacks": [{"name": "roll", "provider": {"type": "process", "path": "true"}}],
        "invariants": [{"name": "whole", "tolerance": 200, "provider": {"type": "process", "path": "true"}}],
        "safeguards": [probe_without_phases("errors-stay-rare")],
        "recovery": {"within": "800ms", "stable": "40ms", "steps": [step("step-1"), step("step-2"), step("step-3")]},
        "runtime": {"hypothesis": {"frequency": "5ms"}},
    });
    Experiment::parse(&text.to_string(), Path::new("made.json")).unwrap()
}

fn clearance() -> Clearance {
    Clearance { environment: None, approval: None, extent: Extent::default() }
}

fn run_with(made: &Made, interrupt: Interrupt) -> (Vec<Event>, Findings) {
    run_cleared(made, interrupt, Ok(clearance()))
}

fn run_cleared(
    made: &Made,
    interrupt: Interrupt,
    clearance: Result<Clearance, Vec<String>>,
) -> (Vec<Event>, Findings) {
    run_this(&experiment(), made, interrupt, clearance)
}

fn run_this(
    experiment: &Experiment,
    made: &Made,
    interrupt: Interrupt,
    clearance: Result<Clearance, Vec<String>>,
) -> (Vec<Event>, Findings) {
    let clock = SystemClock::start();
    let redactor = Redactor::new(["s3cret".into()]).unwrap();
    let log = EventLog::new(&clock, redactor, None, &|_| {});
    let options = Options {
        name: "made".into(),
        seed: 1,
        host: "here".into(),
        platform: "Linux".into(),
        interrupt,
        clearance,
    };
    conduct(experiment, || Ok(made), &log, &options);
    let events = log.finish().unwrap();
    let findings = judge(&events).unwrap();
    (events, findings)
}

fn run(made: &Made) -> (Vec<Event>, Findings) {
    run_with(made, Interrupt::default())
}

fn status(findings: &Findings, question: Question) -> Status {
    findings.judgements.iter().find(|one| one.question == question).unwrap().status
}

#[test]
fn a_healthy_system_passes_with_proof() {
    let made = Made::acting();
    let (events, findings) = run(&made);
    assert_eq!(findings.verdict, Verdict::Pass, "{findings:#?}");
    assert!(findings.judgements.iter().all(|one| one.status == Status::Holds), "{findings:#?}");
    assert_eq!(made.healed.load(Ordering::SeqCst), 1);
    let rolled = events
        .iter()
        .any(|event| matches!(&event.event, What::Done(r) if r.role == Role::Rollback));
    assert!(rolled);
}

#[test]
fn a_fault_that_hits_nothing_is_inconclusive() {
    let (_, findings) = run(&Made { acts: 0, ..Made::default() });
    assert_eq!(findings.verdict, Verdict::Inconclusive, "{findings:#?}");
    assert_eq!(findings.exit, Exit::Inconclusive as u8);
    assert_eq!(status(&findings, Question::FaultActed), Status::Unproven);
}

#[test]
fn an_expectation_missed_under_the_fault_fails() {
    let (_, findings) = run(&Made { breaks: [("up", 0)].into(), ..Made::acting() });
    assert_eq!(findings.verdict, Verdict::Fail, "{findings:#?}");
    assert_eq!(status(&findings, Question::ExpectationsMet), Status::Broken);
    assert_eq!(status(&findings, Question::Recovered), Status::Holds);
    assert!(findings.because.contains("`up` under the fault: expected 200, got no answer"));
}

#[test]
fn slow_recovery_passes_in_time_and_fails_too_late() {
    let (_, quick) = run(&Made { breaks: [("back", 5)].into(), ..Made::acting() });
    assert_eq!(quick.verdict, Verdict::Pass, "{quick:#?}");
    assert!(quick.metrics.time_to_recover.unwrap() >= 20_000_000, "{quick:#?}");
    let (_, never) = run(&Made { breaks: [("back", u64::MAX)].into(), ..Made::acting() });
    assert_eq!(never.verdict, Verdict::Fail, "{never:#?}");
    assert_eq!(status(&never, Question::Recovered), Status::Broken);
    assert_eq!(never.metrics.time_to_recover, None);
}

#[test]
fn manual_steps_are_done_until_it_recovers_and_counted() {
    let made = Made { needs: 2, ..Made::acting() };
    let (_, findings) = run(&made);
    assert_eq!(findings.verdict, Verdict::Fail, "{findings:#?}");
    assert_eq!(made.steps.load(Ordering::SeqCst), 2);
    assert_eq!(findings.metrics.manual_steps, Some(2));
    assert!(findings.metrics.time_to_recover.unwrap() > 1_600_000_000, "{findings:#?}");
    let told = "it recovered with 2 manual steps (`step-1`, `step-2`), ";
    assert!(findings.because.starts_with(told), "{}", findings.because);
    let made = Made { needs: 9, ..Made::acting() };
    let (_, findings) = run(&made);
    assert_eq!(findings.metrics.manual_steps, Some(3));
    assert_eq!(findings.metrics.time_to_recover, None);
    assert!(findings.because.starts_with("it did not recover, not even with 3 manual steps"));
    let (_, healthy) = run(&Made::acting());
    assert_eq!(healthy.metrics.manual_steps, Some(0));
}

#[test]
fn a_failure_comes_with_the_log_lines_around_it_in_every_format() {
    let log = Some(tempfile::NamedTempFile::new().unwrap());
    let (events, findings) = run(&Made { breaks: [("up", 0)].into(), log, ..Made::acting() });
    let failure = findings.failures.iter().find(|one| one.probe == "up").unwrap();
    assert_eq!((failure.expected.as_str(), failure.seen.as_str()), ("200", "no answer"));
    let line = failure.log.first().unwrap();
    let told = (line.source.as_str(), line.text.as_str());
    assert_eq!(told, ("server/shop", "ERROR ***** is gone"));
    let texts = [
        terminal(&findings),
        json(&findings).unwrap(),
        markdown(&findings),
        junit(std::slice::from_ref(&findings)).unwrap(),
        journal(&events, &findings).unwrap().to_string(),
        html(&events, &findings).unwrap(),
    ];
    for text in texts {
        assert!(text.contains("ERROR ***** is gone"), "{text}");
    }
}

/// When each activity of a parallel method began and ended.
fn spans(events: &[Event]) -> BTreeMap<String, (u64, u64)> {
    let mut spans = BTreeMap::new();
    for event in events {
        match &event.event {
            What::Active { fault } => {
                spans.insert(fault.clone(), (event.at, u64::MAX));
            }
            What::Healed(healed) => spans.entry(healed.fault.clone()).or_default().1 = event.at,
            What::Done(result) if result.role == Role::Method => {
                spans.insert(result.name.clone(), (result.began, event.at));
            }
            _ => {}
        }
    }
    spans
}

#[test]
fn activities_in_parallel_overlap_and_the_method_waits_for_the_last() {
    let act = |name: &str, provider: &Value| json!({"name": name, "type": "action", "provider": provider});
    let fault = |time: &str| json!({"type": "chaos", "fault": "drop", "duration": time});
    let slow = json!({"type": "process", "path": "true"});
    let text = json!({"title": "t", "method": [
        {"parallel": [act("slow-1", &slow), act("one", &fault("200ms")), act("two", &fault("250ms"))]},
        act("next", &slow),
        {"parallel": [act("slow-2", &slow), act("slow-3", &slow)]},
    ]});
    let experiment = Experiment::parse(&text.to_string(), Path::new("p.json")).unwrap();
    let made = Made { slow: Duration::from_millis(400), ..Made::acting() };
    let (events, _) = run_this(&experiment, &made, Interrupt::default(), Ok(clearance()));
    let spans = spans(&events);
    let of = |name: &str| spans[name];
    assert!(of("one").0 < of("slow-1").1 && of("two").0 < of("one").1, "{spans:#?}");
    let last = of("slow-1").1.max(of("one").1).max(of("two").1);
    assert!(of("next").0 >= last, "{spans:#?}");
    assert!(of("slow-2").0 >= of("next").1, "{spans:#?}");
    assert!(of("slow-3").0 < of("slow-2").1 && of("slow-2").0 < of("slow-3").1, "{spans:#?}");
    let known = journal(&events, &judge(&events).unwrap()).unwrap();
    let mut run = known["run"].as_array().unwrap().iter();
    assert!(run.all(|one| one["activity"]["name"].is_string()), "{known:#}");
}

#[test]
fn fail_fast_ends_the_method_at_the_first_deviation_and_the_rest_goes_on() {
    let mut text = experiment().source;
    let fault = |name: &str| {
        json!({"name": name, "type": "action", "provider":
        {"type": "chaos", "fault": "drop", "duration": "1h"}})
    };
    text["method"] = json!([fault("cut"), fault("another")]);
    text["runtime"]["hypothesis"]["fail_fast"] = true.into();
    let experiment = Experiment::parse(&text.to_string(), Path::new("made.json")).unwrap();
    let made = Made { breaks: [("up", 3)].into(), ..Made::acting() };
    let (events, findings) = run_this(&experiment, &made, Interrupt::default(), Ok(clearance()));
    assert_eq!(findings.verdict, Verdict::Fail, "{findings:#?}");
    assert!(findings.because.starts_with("`up` under the fault"), "{}", findings.because);
    assert_eq!(made.injected.load(Ordering::SeqCst), 1);
    assert_eq!(made.healed.load(Ordering::SeqCst), 1);
    let acted = findings.judgements.iter().find(|one| one.question == Question::FaultActed);
    let told = "1 of 2 faults were never injected, because `up` deviated before";
    assert_eq!((acted.unwrap().status, &*acted.unwrap().reasons[0]), (Status::Holds, told));
    assert_eq!(status(&findings, Question::Recovered), Status::Holds);
    assert_eq!(status(&findings, Question::InvariantsIntact), Status::Holds);
    let rolled = |event: &Event| matches!(&event.event, What::Done(r) if r.role == Role::Rollback);
    assert!(events.iter().any(rolled));
    let journal = journal(&events, &findings).unwrap();
    assert_eq!((&journal["status"], &journal["deviated"]), (&json!("failed"), &json!(false)));
}

#[test]
fn a_probe_that_is_a_tolerance_is_asked_about_every_outcome() {
    let mut text = experiment().source;
    text["steady-state-hypothesis"]["probes"][0]["tolerance"] = json!({"type": "probe",
        "name": "accepts", "provider": {"type": "process", "path": "true", "arguments": {}}});
    let experiment = Experiment::parse(&text.to_string(), Path::new("made.json")).unwrap();
    let run = |made: &Made| run_this(&experiment, made, Interrupt::default(), Ok(clearance())).1;
    let fine = run(&Made::acting());
    assert_eq!(fine.verdict, Verdict::Pass, "{fine:#?}");
    let refused = run(&Made { breaks: [("accepts", 0)].into(), ..Made::acting() });
    let told = "`up` under the fault: expected what the probe `accepts` accepts, got status 200";
    assert!(refused.because.starts_with(told), "{}", refused.because);
    assert_eq!(refused.verdict, Verdict::Fail);
    let silent = run(&Made { breaks: [("up", 0)].into(), ..Made::acting() });
    assert_eq!(silent.verdict, Verdict::Fail, "no outcome that could be accepted");
}

#[test]
fn a_system_that_is_down_before_is_not_touched() {
    let made = Made { dead: true, ..Made::acting() };
    let (events, findings) = run(&made);
    assert_eq!(findings.verdict, Verdict::Fail);
    assert_eq!(made.injected.load(Ordering::SeqCst), 0);
    assert!(events.iter().any(|event| matches!(event.event, What::GateClosed { .. })));
    assert!(findings.because.contains("nothing was injected"), "{}", findings.because);
}

#[test]
fn what_cannot_be_healed_outweighs_everything() {
    let (_, findings) = run(&Made { unhealable: true, ..Made::acting() });
    assert_eq!((findings.verdict, findings.exit), (Verdict::Error, Exit::NotHealed as u8));
    assert_eq!(status(&findings, Question::HostClean), Status::Broken);
}

#[test]
fn an_interrupt_heals_and_aborts() {
    let made = Made::acting();
    let interrupt = Interrupt::default();
    let (_, findings) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !made.active.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            interrupt.ask();
        });
        run_with(&made, interrupt.clone())
    });
    assert_eq!((findings.verdict, findings.exit), (Verdict::Aborted, Exit::Aborted as u8));
    assert_eq!(made.healed.load(Ordering::SeqCst), 1);
}

#[test]
fn a_safeguard_that_trips_heals_at_once_and_aborts() {
    let made = Made { breaks: [("errors-stay-rare", 0)].into(), ..Made::acting() };
    let (events, findings) = run(&made);
    assert_eq!((findings.verdict, findings.exit), (Verdict::Aborted, Exit::Aborted as u8));
    assert_eq!(
        findings.because,
        "the safeguard `errors-stay-rare` did not hold (no answer), so everything was healed at once"
    );
    assert_eq!(made.healed.load(Ordering::SeqCst), 1);
    let at = |wanted: fn(&What) -> bool| events.iter().position(|event| wanted(&event.event));
    let tripped = at(|what| matches!(what, What::Tripped { .. })).unwrap();
    let healing = at(|what| matches!(what, What::Healing { .. })).unwrap();
    assert!(tripped < healing);
    // Well before the 80 ms that the fault was to last: at the next look.
    let tripped = events.iter().filter(|e| matches!(e.event, What::Tripped { .. })).count();
    assert_eq!(tripped, 1, "told once");
    let invariants =
        |event: &Event| matches!(&event.event, What::Done(r) if r.role == Role::Invariant);
    assert!(!events.iter().any(invariants));
    let rolled = |event: &Event| matches!(&event.event, What::Done(r) if r.role == Role::Rollback);
    assert!(events.iter().any(rolled));
}

#[test]
fn a_safeguard_that_does_not_hold_before_lets_nothing_begin() {
    // Fails while nothing is active, too.
    let made = Made { dead: true, ..Made::acting() };
    let mut text = experiment().source;
    text["runtime"]["hypothesis"] = json!({"strategy": "skip"});
    let experiment = Experiment::parse(&text.to_string(), Path::new("made.json")).unwrap();
    let clock = SystemClock::start();
    let log = EventLog::new(&clock, Redactor::default(), None, &|_| {});
    let options = Options {
        name: "made".into(),
        seed: 1,
        host: String::new(),
        platform: String::new(),
        interrupt: Interrupt::default(),
        clearance: Ok(clearance()),
    };
    conduct(&experiment, || Ok(&made), &log, &options);
    let findings = judge(&log.finish().unwrap()).unwrap();
    assert_eq!(findings.verdict, Verdict::Aborted, "{findings:#?}");
    assert_eq!(made.injected.load(Ordering::SeqCst), 0);
}

#[test]
fn what_the_guards_refuse_is_not_begun_and_what_they_allow_is_recorded() {
    let made = Made::acting();
    let refusal = Err(vec!["no approval".to_owned(), "too long".to_owned()]);
    let (events, findings) = run_cleared(&made, Interrupt::default(), refusal);
    assert_eq!((findings.verdict, findings.exit), (Verdict::Aborted, Exit::Aborted as u8));
    assert_eq!(findings.because, "not allowed, and nothing was touched: no approval; too long");
    assert_eq!(made.injected.load(Ordering::SeqCst), 0);
    assert_eq!(events.len(), 3, "began, refused, ended: {events:?}");
    let allowed = Clearance {
        environment: Some("production".parse().unwrap()),
        approval: Some(Approval {
            by: "Ada".into(),
            ticket: "OPS-7".into(),
            expires: "2030-01-01T00:00Z".parse().unwrap(),
        }),
        extent: Extent::of(&experiment(), 0),
    };
    let (_, findings) = run_cleared(&made, Interrupt::default(), Ok(allowed.clone()));
    assert_eq!(findings.clearance, Some(allowed));
    let report = terminal(&findings);
    let told = "environment production, approved by Ada (OPS-7) until 2030-01-01T00:00:00Z, blast radius \
                1 of 1 hosts (this host), up to 100% of the chosen flows, for up to 400ms";
    assert!(report.contains(told), "{report}");
}

#[test]
fn a_world_that_cannot_be_made_is_the_tools_error() {
    let clock = SystemClock::start();
    let log = EventLog::new(&clock, Redactor::default(), None, &|_| {});
    let options = Options {
        name: "made".into(),
        seed: 1,
        host: String::new(),
        platform: String::new(),
        interrupt: Interrupt::default(),
        clearance: Ok(clearance()),
    };
    let make = || -> Result<&Made, Trouble> {
        Err(Trouble { text: "no namespaces here".into(), exit: Exit::HostUnable })
    };
    conduct(&experiment(), make, &log, &options);
    let findings = judge(&log.finish().unwrap()).unwrap();
    assert_eq!((findings.verdict, findings.exit), (Verdict::Error, Exit::HostUnable as u8));
    assert_eq!(findings.because, "no namespaces here");
}

#[test]
fn a_stored_log_gives_the_same_verdict_and_bytes() {
    let (events, findings) = run(&Made { breaks: [("up", 0)].into(), ..Made::acting() });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let lines: Vec<String> = events.iter().map(|e| serde_json::to_string(e).unwrap()).collect();
    // A last line that a crash cut off does not matter.
    std::fs::write(&path, lines.join("\n") + "\n{\"at\": 1").unwrap();
    let read = read_log(&path).unwrap();
    assert_eq!(read, events);
    let again = judge(&read).unwrap();
    assert_eq!(again, findings);
    assert_eq!(terminal(&again), terminal(&findings));
    assert_eq!(json(&again).unwrap(), json(&findings).unwrap());
    assert_eq!(markdown(&again), markdown(&findings));
    let suite = |findings: &Findings| junit(std::slice::from_ref(findings)).unwrap();
    assert_eq!(suite(&again), suite(&findings));
    assert_eq!(journal(&read, &again), journal(&events, &findings));
    assert_eq!(html(&read, &again).unwrap(), html(&events, &findings).unwrap());
}

#[test]
fn secrets_are_nowhere_in_the_log() {
    let (events, _) = run(&Made::acting());
    assert!(!serde_json::to_string(&events).unwrap().contains("s3cret"));
}

#[test]
fn logs_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read_log(&path).unwrap_err().to_string()
    };
    assert!(refused("").contains("first line must say that a run began"));
    assert!(refused("{}\n").contains("log:1: not an event"));
    let (events, _) = run(&Made::acting());
    let first = serde_json::to_string(&events[0]).unwrap();
    let newer = first.replace("\"format\":1", "\"format\":2");
    assert!(refused(&newer).contains("written in format 2"), "{newer}");
}
