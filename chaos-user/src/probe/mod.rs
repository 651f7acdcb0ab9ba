//! Probes and actions of the user's own: requests, programs, logs, processes, metrics, names.

mod dns;
mod exposition;
mod http;
mod log;
mod memory;
mod metrics;
mod process;
mod procfs;
mod tcp;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::experiment::{
    Activity, FIRST, Observation, Provider, Span, Target, Tolerance, Variables,
};
use crate::kernel::netns::NetNsRuntime;
use crate::target::{Spawner, Surroundings};

pub use memory::Memory;
pub(crate) use procfs::pid_in;

/// How much longer than its time-out a probe may take before it counts as stuck.
const SLACK: Duration = Duration::from_secs(2);

/// Where a probe runs.
pub struct Place<'a> {
    /// Its network.
    pub runtime: &'a NetNsRuntime,
    /// The addresses of a name, if the place knows it by itself.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// What a program sees around it; `None` is this host.
    pub surroundings: Option<&'a Surroundings>,
    /// Who starts programs there.
    pub spawner: &'a Spawner,
    /// What `${name}` stands for.
    pub variables: &'a Variables,
    /// What relative program paths are relative to.
    pub base: &'a Path,
    /// A process of the lab.
    pub process: &'a dyn Fn(&Target) -> Result<ProcessView, String>,
    /// Where all is that a container wrote so far, by its name and the engine's socket.
    pub container_log: &'a dyn Fn(&str, &Path) -> Result<PathBuf, String>,
    /// What was seen before.
    pub memory: &'a Memory,
}

/// A process of the lab as probes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessView {
    /// Its number while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last.
    pub exit: Option<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Runs it, bounded in time, and says what came back.
pub fn perform(activity: &Activity, place: &Place<'_>) -> Observation {
    let provider = &activity.provider;
    let began = Instant::now();
    let outcome =
        match provider {
            Provider::Http(call) => http::request(call, place)
                .and_then(|request| inside(place.runtime, call.timeout, request)),
            Provider::Tcp(call) => inside(place.runtime, call.timeout, tcp::connect(call, place)),
            Provider::Process(call) => process::run(call, place),
            Provider::Dns(call) => dns::resolve(call, place)
                .and_then(|answer| inside(place.runtime, call.timeout, answer)),
            Provider::Log(call) => log::look(&activity.name, call, place),
            Provider::Procfs(call) => procfs::look(call, place),
            Provider::Service(service) => {
                let seen = service.filled(place.variables).look();
                seen.map(|seen| seen.output).map_err(|error| error.to_string())
            }
            Provider::Metrics(call) => metrics::scrape(call, place)
                .and_then(|page| inside(place.runtime, call.timeout, page)),
            Provider::Prometheus(call) => metrics::query(call, place)
                .and_then(|reply| inside(place.runtime, call.timeout, reply)),
            Provider::Fault(_) => Err("a fault is injected, not performed".into()),
        };
    let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    match outcome {
        Ok(mut output) => {
            let compares = activity.tolerance.as_ref().is_some_and(Tolerance::needs_first);
            if compares && let Some(first) = output.as_object().map(|_| &output) {
                let first = place.memory.first(&activity.name, first);
                output[FIRST] = first;
            }
            Observation { output, error: None, took }
        }
        Err(error) => Observation { output: Value::Null, error: Some(error), took },
    }
}

/// Waits for a task inside the place's network.
fn inside(
    runtime: &NetNsRuntime,
    timeout: Span,
    task: impl Future<Output = Result<Value, String>> + Send + 'static,
) -> Result<Value, String> {
    let (done, outcome) = mpsc::sync_channel(1);
    let within = timeout.duration();
    let task = runtime.spawn(async move {
        let outcome = tokio::time::timeout(within, task).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {timeout}")));
        let _ = done.send(outcome);
    });
    outcome.recv_timeout(within.saturating_add(SLACK)).unwrap_or_else(|_| {
        task.abort();
        Err(format!("no answer within {timeout}"))
    })
}
