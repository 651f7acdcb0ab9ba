//! The clients themselves, as tasks inside a node's network.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use super::client::{Answer, send};
use super::operation::{Operation, State};
use super::payload::{Payload, payloads};
use crate::experiment::{Observation, Pace, Redactor, Step, Tolerance, Variables, WorkloadSpec};

/// With a rate: more requests than this wait for their answers only if none comes any more.
const MOST_IN_FLIGHT: usize = 10_000;
/// The longest that is kept of what a failed request was told.
const NOTE: usize = 120;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) spec: WorkloadSpec,
    pub(super) client: Client,
    /// What each group knows.
    pub(super) groups: Mutex<Vec<Variables>>,
    pub(super) seed: u64,
    pub(super) origin: Instant,
    pub(super) record: Mutex<Record>,
    pub(super) stop: AtomicBool,
    /// Clients begin when this is notified.
    pub(super) go: Notify,
    next: AtomicU32,
    /// With a rate: how many may wait for their answers.
    most: usize,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) operations: Vec<Operation>,
    /// How many of those have been handed over.
    pub(super) told: usize,
    /// Requests that reached somebody.
    pub(super) reached: u64,
    /// Requests that reached what they were meant for.
    pub(super) hits: u64,
    pub(super) bytes: u64,
    /// What ends from now on has been written down as unanswered.
    pub(super) closed: bool,
}

impl Engine {
    pub(super) fn new(
        spec: WorkloadSpec,
        client: Client,
        variables: &Variables,
        seed: u64,
    ) -> Self {
        let groups = (0..spec.pace.groups())
            .map(|group| variables.preferring([("group".to_owned(), Value::from(group))]))
            .collect();
        Self {
            spec,
            client,
            groups: Mutex::new(groups),
            seed,
            origin: Instant::now(),
            record: Mutex::default(),
            stop: AtomicBool::new(false),
            go: Notify::new(),
            next: AtomicU32::new(0),
            most: MOST_IN_FLIGHT,
        }
    }

    /// Does the steps before the release, group by group.
    pub(super) async fn prepare(&self) -> Result<(), String> {
        for group in 0..self.spec.pace.groups() as usize {
            for step in &self.spec.prepare {
                let mut known = self.group(group);
                let answer = send(&self.client, step, &known, None).await;
                if !succeeded(step, &answer) {
                    let seen = words(answer, &known);
                    return Err(format!("`{}` of the preparation: {seen}", step.name));
                }
                save(step, &answer, &mut known)?;
                if let Some(place) = self.groups().get_mut(group) {
                    *place = known;
                }
            }
        }
        Ok(())
    }

    /// What each group has to find; says what it did not.
    pub(super) async fn verify(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for group in 0..self.spec.pace.groups() as usize {
            for step in &self.spec.verify {
                let mut known = self.group(group);
                let Some(tolerance) = &step.tolerance else { continue };
                let mut answer = send(&self.client, step, &known, None).await;
                for _ in 0..step.retries {
                    // What is broken already does not come back by waiting for what follows from it.
                    if tolerance.accepts(&answer.seen) || !broken.is_empty() {
                        break;
                    }
                    tokio::time::sleep(step.pause.into()).await;
                    answer = send(&self.client, step, &known, None).await;
                }
                if !tolerance.accepts(&answer.seen) {
                    let seen = words(answer, &known);
                    broken.push(format!("`{}`: expected {tolerance}, got {seen}", step.name));
                } else if let Err(error) = save(step, &answer, &mut known) {
                    broken.push(error);
                }
                if let Some(place) = self.groups().get_mut(group) {
                    *place = known;
                }
            }
        }
        broken
    }

    /// What the workload made happen, as something else counted it.
    pub(super) async fn evidence(&self) -> Option<Result<u64, String>> {
        let step = self.spec.evidence.as_ref()?;
        let known = self.group(0);
        let answer = send(&self.client, step, &known, None).await;
        let body = answer.seen.output.get("body").unwrap_or(&Value::Null);
        let path = step.save.values().next()?;
        let number = path.path.query(body).first().and_then(Value::as_u64);
        Some(number.ok_or_else(|| {
            let seen = words(answer, &known);
            format!("`{}` does not say what happened: {seen}", step.name)
        }))
    }

    /// Sends everything, and returns when all of it has been answered or given up.
    pub(super) async fn run(self: Arc<Self>) {
        match self.spec.pace {
            Pace::Together { groups, users, rounds } => {
                self.together(groups.saturating_mul(users), users, rounds).await;
            }
            Pace::Open { rate } => self.open(rate).await,
        }
    }

    async fn together(self: Arc<Self>, all: u32, users: u32, rounds: u32) {
        let barrier = Arc::new(Barrier::new(all as usize));
        let mut clients = JoinSet::new();
        for client in 0..all {
            let (engine, barrier) = (Arc::clone(&self), Arc::clone(&barrier));
            clients.spawn(async move {
                let mut known = engine.known_to(client, client / users);
                let work = engine.work(client, all);
                barrier.wait().await;
                for _ in 0..rounds {
                    for (step, payload) in &work {
                        if engine.stopped() {
                            return;
                        }
                        if engine.persist(client, step, payload.as_ref(), &mut known).await.is_err()
                        {
                            break;
                        }
                    }
                }
            });
        }
        while clients.join_next().await.is_some() {}
    }

    /// Everything one client sends in a round: of payloads, its share.
    fn work(&self, client: u32, all: u32) -> Vec<(Step, Option<Payload>)> {
        let mut work = Vec::new();
        let known = self.known_to(client, 0);
        let samples_known = self.groups().first().cloned().unwrap_or(known);
        for step in &self.spec.requests {
            let Some(wanted) = &step.payloads else {
                work.push((step.clone(), None));
                continue;
            };
            let samples: Vec<String> =
                wanted.samples.iter().map(|sample| samples_known.fill_text(sample)).collect();
            let seed = wanted.seed.unwrap_or(self.seed);
            let made = payloads(seed, wanted.count as usize, &samples);
            let own = made.into_iter().skip(client as usize).step_by(all.max(1) as usize);
            work.extend(own.map(|payload| (step.clone(), Some(payload))));
        }
        work
    }

    async fn open(self: Arc<Self>, rate: f64) {
        let began = Instant::now();
        let lasts = self.spec.lasts.duration();
        let mut under_way = JoinSet::new();
        for number in 0_u32.. {
            let due = Duration::from_secs_f64(f64::from(number) / rate);
            if due >= lasts || self.stopped() {
                break;
            }
            tokio::time::sleep_until((began + due).into()).await;
            while under_way.try_join_next().is_some() {}
            let Some(step) = self.spec.requests.get(number as usize % self.spec.requests.len())
            else {
                break;
            };
            if under_way.len() >= self.most {
                self.leave_out(number, step, began + due);
                continue;
            }
            let (engine, step) = (Arc::clone(&self), step.clone());
            under_way.spawn(async move {
                let mut known = engine.known_to(number, 0);
                // Counted from when it was due: waiting to be sent is waiting, too.
                let _ = engine.operation(number, &step, None, &mut known, began + due).await;
            });
        }
        while under_way.join_next().await.is_some() {}
    }

    /// An operation, again and again for as long as it may be repeated. An error: what later steps
    /// need did not come.
    async fn persist(
        &self,
        client: u32,
        step: &Step,
        payload: Option<&Payload>,
        known: &mut Variables,
    ) -> Result<(), String> {
        let mut tries = 0;
        loop {
            let (done, saved) = self.operation(client, step, payload, known, Instant::now()).await;
            tries += 1;
            if done || tries > step.retries || self.stopped() {
                return saved;
            }
            tokio::time::sleep(step.pause.into()).await;
        }
    }

    /// One operation; says whether it was done and what it left for later ones.
    async fn operation(
        &self,
        client: u32,
        step: &Step,
        payload: Option<&Payload>,
        known: &mut Variables,
        due: Instant,
    ) -> (bool, Result<(), String>) {
        let number = self.begin(client, step, payload, due);
        let with_payload = match payload {
            Some(Payload::Value { value, .. }) => {
                Some(known.preferring([("payload".to_owned(), value.clone())]))
            }
            _ => None,
        };
        let answer =
            send(&self.client, step, with_payload.as_ref().unwrap_or(known), payload).await;
        let done = succeeded(step, &answer);
        let state = match answer.status {
            _ if done => State::Ok,
            None if answer.unsent => State::Fail,
            // It may have been done before the answer was lost.
            None | Some(500 | 504) => State::Info,
            Some(_) => State::Fail,
        };
        let note = (!done || payload.is_some()).then(|| note(&answer, payload, known.redactor()));
        let hit = match answer.status {
            Some(status) if self.spec.hits.is_empty() => !matches!(status, 404 | 405),
            Some(status) => self.spec.hits.contains(&status),
            None => !answer.unsent,
        };
        {
            let mut record = self.record();
            let hit = hit && !record.closed;
            let reached = !answer.unsent && !record.closed;
            record.reached += u64::from(reached);
            record.hits += u64::from(hit);
            record.bytes += step.size.unwrap_or(0);
        }
        self.end(number, client, step, (state, answer.status), note);
        let saved = if done {
            save(step, &answer, known)
        } else if step.save.is_empty() {
            Ok(())
        } else {
            Err(String::new())
        };
        (done, saved)
    }

    /// An operation that was due and is not sent.
    fn leave_out(&self, client: u32, step: &Step, due: Instant) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let event = |state, at, note| Operation {
            number,
            client,
            step: step.name.clone(),
            state,
            at,
            status: None,
            payload: None,
            unsent: true,
            note,
        };
        let note = Some("not sent: too many wait for an answer".to_owned());
        let (due, now) = (due.saturating_duration_since(self.origin), self.origin.elapsed());
        let mut record = self.record();
        if !record.closed {
            record.operations.push(event(State::Invoke, nanos(due), None));
            record.operations.push(event(State::Fail, nanos(now), note));
        }
    }

    fn begin(&self, client: u32, step: &Step, payload: Option<&Payload>, due: Instant) -> u32 {
        let payload = payload.map(|payload| format!("{:016x}", payload.digest()));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = nanos(due.saturating_duration_since(self.origin));
        let (state, step) = (State::Invoke, step.name.clone());
        let (status, unsent, note) = (None, false, None);
        let operation =
            Operation { number, client, step, state, at, status, payload, unsent, note };
        self.record().operations.push(operation);
        number
    }

    fn end(
        &self,
        number: u32,
        client: u32,
        step: &Step,
        (state, status): (State, Option<u16>),
        note: Option<String>,
    ) {
        let at = nanos(self.origin.elapsed());
        let step = step.name.clone();
        let (payload, unsent) = (None, false);
        let operation =
            Operation { number, client, step, state, at, status, payload, unsent, note };
        let mut record = self.record();
        if !record.closed {
            record.operations.push(operation);
        }
    }

    /// What a client knows: what its group does, its own number, and its turn of what varies.
    fn known_to(&self, client: u32, group: u32) -> Variables {
        let group = self.group(group as usize);
        let turns = self.spec.vary.iter().filter_map(|(name, values)| {
            let value = values.get(client as usize % values.len().max(1))?;
            Some((name.clone(), group.fill(value)))
        });
        let own = [("user".to_owned(), Value::from(client))];
        group.preferring(own.into_iter().chain(turns))
    }

    fn group(&self, group: usize) -> Variables {
        self.groups().get(group).cloned().unwrap_or_default()
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, Vec<Variables>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn succeeded(step: &Step, answer: &Answer) -> bool {
    match &step.tolerance {
        Some(tolerance) => tolerance.accepts(&answer.seen),
        None => answer.status.is_some_and(|status| (200..300).contains(&status)),
    }
}

/// What came of a request, in one line without secrets.
fn words(answer: Answer, known: &Variables) -> String {
    Tolerance::describe_seen(&answer.seen.hidden(known.redactor()))
}

/// Keeps what later steps need.
fn save(step: &Step, answer: &Answer, known: &mut Variables) -> Result<(), String> {
    let body = answer.seen.output.get("body").unwrap_or(&Value::Null);
    let mut found = Vec::new();
    for (name, saved) in &step.save {
        match saved.path.query(body).first() {
            Some(value) => found.push((name.clone(), value.clone())),
            None => {
                return Err(format!("`{}`: there is no {} in the answer", step.name, saved.text));
            }
        }
    }
    if !found.is_empty() {
        *known = known.preferring(found);
    }
    Ok(())
}

/// What a client was told, in short, without what differs from one to the next.
fn note(answer: &Answer, payload: Option<&Payload>, redactor: &Redactor) -> String {
    let told = match &answer.seen {
        Observation { error: Some(error), .. } => error.clone(),
        Observation { output, .. } => {
            let body = output.get("body").unwrap_or(&Value::Null);
            let code = body.pointer("/error/code").or_else(|| body.get("error"));
            let told = match code.or_else(|| body.get("message")).unwrap_or(body) {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let status = answer.status.map_or_else(String::new, |status| status.to_string());
            format!("{status} {told}")
        }
    };
    let class = payload.map_or_else(String::new, |payload| format!("{}: ", payload.class()));
    redactor.text(&format!("{class}{told}")).chars().take(NOTE).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::experiment::{Experiment, FaultWork, Provider};
    use crate::workload::Summary;

    #[test]
    fn requests_beyond_the_most_that_may_wait_are_due_but_never_sent() {
        // Connections are taken and nothing is ever answered.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let text = json!({"title": "t", "method": [{"name": "load", "type": "action", "provider":
            {"type": "chaos", "duration": "100ms", "workload": {"rate": 100, "requests":
                [{"name": "read", "url": url, "timeout": "1h"}]}}}]});
        let experiment = Experiment::parse(&text.to_string(), Path::new("t.json")).unwrap();
        let Provider::Fault(fault) = &experiment.method[0].provider else { panic!("a fault") };
        let FaultWork::Workload(spec) = &fault.work else { panic!("a workload") };
        let mut engine = Engine::new((**spec).clone(), Client::new(), &Variables::default(), 1);
        engine.most = 3;
        let engine = Arc::new(engine);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let summary = runtime.block_on(async {
            let work = tokio::spawn(Arc::clone(&engine).run());
            // Ten are due; the three that wait keep it from ending.
            while engine.next.load(Ordering::Relaxed) < 10 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            work.abort();
            Summary::of(&engine.record().operations, 1, u32::MAX)
        });
        assert_eq!((summary.sent, summary.unsent, summary.together), (3, 7, 3));
        assert_eq!((summary.ok, summary.fail), (0, 7));
        assert!(summary.latency_ms(0.99) < 0.001, "nothing was answered");
    }
}
