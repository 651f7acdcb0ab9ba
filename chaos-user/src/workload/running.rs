//! A workload that is going on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::client::client;
use super::engine::{Engine, nanos};
use super::operation::{Operation, State};
use super::summary::Summary;
use super::watch::{Watch, Watched};
use crate::experiment::{Observation, Pace, Step, Variables, WorkloadSpec};
use crate::fault::RuleEvidence;
use crate::kernel::netns::{NetNs, NetNsError, NetNsRuntime};

/// How much longer than all its time-outs together the preparation may take.
const SLACK: Duration = Duration::from_secs(5);

/// A burst is over sooner than a probe can look, so the time that belongs to it is at least this:
/// what it did to the system shows in the moment after it.
const LINGER: Duration = Duration::from_secs(1);

/// What a workload runs in.
pub struct Surroundings<'a> {
    /// The network of its clients.
    pub netns: &'a NetNs,
    /// The addresses of a name, if the place knows it by itself.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// What `${name}` stands for.
    pub variables: &'a Variables,
    /// Seeds what is made up.
    pub seed: u64,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// A workload that is going on. Dropping it ends it.
#[derive(Debug)]
pub struct Running<'a> {
    name: String,
    engine: Arc<Engine>,
    runtime: NetNsRuntime,
    watch: Option<Watch<'a>>,
    released: Instant,
    /// All clients are done.
    over: Arc<AtomicBool>,
    /// Why it could not begin.
    unprepared: Option<String>,
}

/// What a workload came to.
#[derive(Debug)]
pub struct Finished {
    /// That it acted.
    pub evidence: RuleEvidence,
    /// What its tolerance looks at.
    pub seen: Observation,
    /// What is worth a warning.
    pub remarks: Vec<String>,
}

impl<'a> Running<'a> {
    /// Prepares it, and returns once its clients are released.
    pub fn begin(
        name: &str,
        spec: &WorkloadSpec,
        watched: Option<Watched<'a>>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, NetNsError> {
        let runtime = surroundings.netns.spawn_runtime()?;
        let steps = spec.prepare.iter().chain(&spec.requests).chain(&spec.verify);
        let steps = steps.chain(spec.evidence.as_deref());
        let made = client(steps, surroundings.variables, surroundings.resolve);
        let (client, mut unprepared) = match made {
            Ok(client) => (client, None),
            Err(error) => (reqwest::Client::new(), Some(error)),
        };
        let engine = Engine::new(spec.clone(), client, surroundings.variables, surroundings.seed);
        let engine = Arc::new(engine);
        let over = Arc::new(AtomicBool::new(false));
        if unprepared.is_none() {
            let patience =
                spec.prepare.iter().map(|step| step.timeout.duration()).sum::<Duration>();
            let patience = patience.saturating_mul(spec.pace.groups()).saturating_add(SLACK);
            let work = Arc::clone(&engine);
            let prepared = wait(&runtime, patience, async move { work.prepare().await });
            unprepared =
                prepared.unwrap_or_else(|| Err("the preparation took too long".into())).err();
        }
        let watch = watched.map(Watch::begin);
        if unprepared.is_some() {
            over.store(true, Ordering::Release);
        } else {
            let (work, ended) = (Arc::clone(&engine), Arc::clone(&over));
            runtime.spawn(async move {
                // A permit is kept if it was given before.
                work.go.notified().await;
                work.run().await;
                ended.store(true, Ordering::Release);
            });
        }
        if spec.after.is_none() {
            engine.go.notify_one();
        }
        let (name, released) = (name.to_owned(), Instant::now());
        Ok(Self { name, engine, runtime, watch, released, over, unprepared })
    }

    /// Another fault has become active, which its clients may have waited for.
    pub fn began(&mut self, fault: &str) {
        if self.engine.spec.after.as_deref() == Some(fault) {
            self.released = Instant::now();
            self.engine.go.notify_one();
        }
    }

    /// Whether all its clients are done, and probes had the time to see what they did.
    pub fn over(&self) -> bool {
        let least = if self.unprepared.is_some() { Duration::ZERO } else { LINGER };
        self.over.load(Ordering::Acquire) && self.released.elapsed() >= least
    }

    /// What happened since this was last asked.
    pub fn operations(&self) -> Vec<Operation> {
        let mut record = self.engine.record();
        let told = record.told;
        record.told = record.operations.len();
        record.operations.get(told..).unwrap_or_default().to_vec()
    }

    /// Ends it. What has no answer by now has none.
    pub fn finish(&mut self) -> Finished {
        self.engine.stop.store(true, Ordering::Release);
        let spec = &self.engine.spec;
        let (groups, users) = match spec.pace {
            Pace::Together { groups, users, .. } => (groups, users),
            Pace::Open { .. } => (1, u32::MAX),
        };
        self.give_up();
        let mut counted = None;
        if self.unprepared.is_none()
            && let Some(step) = &spec.evidence
        {
            let patience = step.timeout.duration().saturating_add(SLACK);
            let work = Arc::clone(&self.engine);
            counted = wait(&self.runtime, patience, async move { work.evidence().await }).flatten();
            counted = counted.or(Some(Err("the evidence took too long".into())));
        }
        let mut broken = Vec::new();
        if self.unprepared.is_none() && !spec.verify.is_empty() {
            let longest = |step: &Step| {
                let once = step.timeout.duration().saturating_add(step.pause.duration());
                once.saturating_mul(step.retries.saturating_add(1))
            };
            let patience = spec.verify.iter().map(longest).sum::<Duration>();
            let patience = patience.saturating_mul(groups).saturating_add(SLACK);
            let work = Arc::clone(&self.engine);
            let found = wait(&self.runtime, patience, async move { work.verify().await });
            broken = found.unwrap_or_else(|| vec!["what is verified took too long".into()]);
        }
        let used = match self.watch.as_ref().map(Watch::end) {
            Some(Ok(used)) => Some(used),
            Some(Err(died)) => {
                broken.insert(0, died);
                None
            }
            None => None,
        };
        let record = self.engine.record();
        let summary = Summary::of(&record.operations, groups, users);
        let mut remarks: Vec<String> = self.unprepared.iter().cloned().collect();
        let mut acted = match counted {
            None => record.hits,
            Some(Ok(number)) => number,
            Some(Err(error)) => {
                remarks.push(error);
                0
            }
        };
        if summary.together < 2
            && groups.saturating_mul(users) > 1
            && acted > 0
            && matches!(spec.pace, Pace::Together { .. })
        {
            acted = 0;
            remarks.push("no two requests were under way at the same time".into());
        }
        let evidence = RuleEvidence {
            rule: self.name.clone(),
            seen: summary.sent,
            matched: record.reached,
            acted,
            bytes: record.bytes,
        };
        let took = nanos(self.engine.origin.elapsed());
        let output = summary.output(&broken, used);
        Finished { evidence, seen: Observation { output, error: None, took }, remarks }
    }

    /// Operations without an answer may have been done.
    fn give_up(&self) {
        let mut record = self.engine.record();
        let at = nanos(self.engine.origin.elapsed());
        let mut open: BTreeMap<u32, Operation> = BTreeMap::new();
        for operation in &record.operations {
            match operation.state {
                State::Invoke => open.insert(operation.number, operation.clone()),
                _ => open.remove(&operation.number),
            };
        }
        record.closed = true;
        record.reached += open.len() as u64;
        record.hits += open.len() as u64;
        for mut operation in open.into_values() {
            operation.state = State::Info;
            operation.at = at;
            operation.note = Some("no answer when the workload was ended".into());
            record.operations.push(operation);
        }
    }
}

/// Waits for a task inside; `None` if it took too long.
fn wait<T: Send + 'static>(
    runtime: &NetNsRuntime,
    patience: Duration,
    task: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (done, outcome) = mpsc::sync_channel(1);
    let task = runtime.spawn(async move {
        let _ = done.send(task.await);
    });
    let outcome = outcome.recv_timeout(patience).ok();
    if outcome.is_none() {
        task.abort();
    }
    outcome
}
