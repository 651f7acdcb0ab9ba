//! Containers that are stopped, killed, paused and restarted, through a stand-in for the Docker
//! engine that speaks its protocol. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/eventually.rs"]
mod eventually;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use chaos::host::{DescriptorLimit, ProcessId};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually::eventually;

/// What a stand-in supervises, and what it was asked to do.
#[derive(Debug)]
struct Supervised {
    running: bool,
    paused: bool,
    pid: u32,
    restarts: u32,
    /// Whether what is killed is started again at once.
    comes_back: bool,
    asked: Vec<String>,
    /// What it wrote: when, in nanoseconds, on which stream, and what.
    log: Vec<(i64, u8, String)>,
    /// How often a log that is followed is cut in the middle of a line.
    cuts: u32,
}

/// Numbers from here on are no process's: the kernel gives none above 2^22.
const NO_PROCESS: u32 = 5_000_000;

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Supervised>>);

impl Shared {
    fn new(running: bool) -> Self {
        Self(Arc::new(Mutex::new(Supervised {
            running,
            paused: false,
            pid: NO_PROCESS,
            restarts: 0,
            comes_back: false,
            asked: Vec::new(),
            log: Vec::new(),
            cuts: 0,
        })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Supervised) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, what: &str) {
        self.with(|it| {
            it.asked.push(what.to_owned());
            if !it.log.is_empty() {
                // Several lines of the same instant, on both streams.
                let at = Timestamp::now().as_nanosecond() as i64;
                let lines = (0..4).map(|line| format!("{what} {line} of s3cret"));
                it.log.extend(lines.zip([1, 1, 2, 2]).map(|(line, stream)| (at, stream, line)));
            }
            match what {
                "start" | "restart" => (it.running, it.paused, it.pid) = (true, false, it.pid + 1),
                "kill" if it.comes_back => (it.pid, it.restarts) = (it.pid + 1, it.restarts + 1),
                "stop" | "kill" => it.running = false,
                "pause" => it.paused = true,
                "unpause" => it.paused = false,
                other => panic!("asked to {other}"),
            }
        });
    }

    fn asked(&self) -> Vec<String> {
        self.with(|it| it.asked.clone())
    }
}

struct Host {
    folder: TempDir,
    docker: PathBuf,
}

impl Host {
    /// An engine with the container `shop` alone.
    fn new(container: &Shared) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join("docker.sock");
        let (listener, container) = (UnixListener::bind(&docker).unwrap(), container.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, container) = (stream.unwrap(), container.clone());
                thread::spawn(move || engine(&stream, &container));
            }
        });
        Self { folder, docker }
    }

    fn chaos(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// An experiment with a probe that holds before and after, and one that holds during `fault`.
    fn experiment(&self, fault: &str, during: &str) -> String {
        let socket = self.docker.display();
        let place = format!("container, container: shop, socket: {socket}");
        let fault = fault.replace("SOCKET", &socket.to_string());
        let text = format!(
            "title: The shop is gone for a while
steady-state-hypothesis:
  title: It runs
  probes:
    - name: runs
      during: [before, after]
      provider: {{ type: {place} }}
      tolerance: {{ type: jsonpath, path: $.running, expect: true }}
    - name: under-the-fault
      during: fault
      provider: {{ type: {place} }}
      tolerance: {{ type: jsonpath, path: {during} }}
method:
  - {{ name: outage, type: action, provider: {{ type: chaos, {fault} }} }}
recovery: {{ within: 5s, stable: 100ms }}
"
        );
        let path = self.folder.path().join("shop.yaml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// An experiment without a steady state; the exit code and the reason for the verdict.
    fn bare(&self, fault: &str) -> (i32, String) {
        let provider = format!("{{ type: chaos, {fault} }}");
        let text =
            format!("title: t\nmethod:\n  - {{ name: f, type: action, provider: {provider} }}\n");
        fs::write(self.folder.path().join("bare.yaml"), text).unwrap();
        let done = self.chaos(&["run", "--json", "bare.yaml"]).output().unwrap();
        let runs: Value = serde_json::from_slice(&done.stdout).unwrap();
        let because = runs[0]["because"].as_str().unwrap().to_owned();
        (done.status.code().unwrap(), because)
    }

    fn run(&self, fault: &str, during: &str) -> (i32, Value) {
        let experiment = self.experiment(fault, during);
        let done = self.chaos(&["run", "--json", &experiment]).output().unwrap();
        let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
        (done.status.code().unwrap_or_else(|| panic!("{done:?}")), runs[0].clone())
    }
}

/// Answers one request as the Docker engine does.
fn engine(stream: &UnixStream, container: &Shared) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    // Who asks may be killed before it has said what.
    let Some(request) = lines.next() else { return };
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let what = path.strip_prefix("/containers/shop/");
    let (status, body) = match (method, what) {
        ("GET", Some("json")) => (
            "200 OK",
            container.with(|it| {
                json!({
                "Id": "f00d", "RestartCount": it.restarts, "Config": { "Tty": false },
                "State": {
                    "Status": if it.running { "running" } else { "exited" },
                    "Running": it.running, "Paused": it.running && it.paused,
                    "Pid": if it.running { it.pid } else { 0 }, "ExitCode": 137, "OOMKilled": false,
                },
            })
            .to_string()
            }),
        ),
        ("GET", Some("logs")) => return show_log(stream, container, query),
        ("POST", Some(what)) => {
            assert!(what != "kill" || query == "signal=SIGKILL", "{query}");
            container.ask(what);
            ("204 No Content", String::new())
        }
        _ => ("404 Not Found", json!({"message": "No such container"}).to_string()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    let _ = write!(&mut &*stream, "{head}Connection: close\r\n\r\n{body}");
}

/// Answers with the log, in frames, and goes on with what is written if that is asked for.
fn show_log(mut stream: &UnixStream, container: &Shared, query: &str) {
    let ask = |key: &str| query.split('&').find_map(|part| part.strip_prefix(key));
    assert!(["stdout=1", "stderr=1", "timestamps=1"].iter().all(|part| query.contains(part)));
    let since = ask("since=").map_or(0, |since| {
        let (seconds, nanos) = since.split_once('.').unwrap();
        seconds.parse::<i64>().unwrap() * 1_000_000_000 + nanos.parse::<i64>().unwrap()
    });
    let all = || container.with(|it| it.log.clone());
    let mut sent = ask("tail=").map_or(0, |tail| all().len().saturating_sub(tail.parse().unwrap()));
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let mut open = stream.write_all(head.as_bytes()).is_ok();
    while open {
        for (at, of, line) in all().iter().skip(sent).filter(|(at, ..)| *at >= since) {
            let at = Timestamp::from_nanosecond((*at).into()).unwrap();
            let line = format!("{at} {line}\n");
            let mut frame = vec![*of, 0, 0, 0];
            frame.extend((line.len() as u32).to_be_bytes());
            frame.extend(line.as_bytes());
            let second = line.contains(" 1 of ");
            let cut = second
                && ask("follow=").is_some()
                && container.with(|it| {
                    let cut = it.cuts > 0;
                    it.cuts = it.cuts.saturating_sub(1);
                    cut
                });
            frame.truncate(if cut { frame.len() / 2 } else { frame.len() });
            open = stream.write_all(&frame).is_ok() && !cut;
            if !open {
                return;
            }
        }
        sent = sent.max(all().len());
        // As an engine does, it ends what is followed with the container.
        open &= ask("follow=").is_some() && container.with(|it| it.running);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_container_is_stopped_killed_and_paused_and_runs_again() {
    let container = Shared::new(true);
    let host = Host::new(&container);
    for (act, during) in [
        ("stop", "$.running, expect: false"),
        ("kill", "$.exit_code, expect: 137"),
        ("pause", "$.paused, expect: true"),
    ] {
        let fault = format!("fault: {act}, container: shop, socket: SOCKET, duration: 600ms");
        let (code, run) = host.run(&fault, during);
        assert_eq!(code, 0, "{act}: {run:#}");
        assert_eq!(run["faults"][0]["evidence"][0]["acted"], 1, "{act}: {run:#}");
    }
    assert_eq!(container.asked(), ["stop", "start", "kill", "start", "pause", "unpause"]);
    // One that is restarted is another one at once, and there is nothing to undo.
    let before = container.with(|it| it.pid);
    let socket = host.docker.display();
    let (code, why) = host.bare(&format!("fault: restart, container: shop, socket: {socket}"));
    assert_eq!(code, 0, "{why}");
    assert!(container.with(|it| it.running && it.pid != before));
    assert_eq!(container.asked()[6..], ["restart"]);
    // Its engine starts it again by itself: the fault acted, and there is nothing to undo.
    container.with(|it| it.comes_back = true);
    let fault = "fault: kill, container: shop, socket: SOCKET, duration: 600ms";
    let (code, run) = host.run(fault, "$.restarts, at-least: 1");
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(container.asked()[7..], ["kill"]);
}

/// A process that waits; it ends with this.
struct Waiting(Child);

impl Waiting {
    fn start() -> Self {
        let null = Stdio::null;
        let mut command = Command::new("sleep");
        Self(command.arg("1000").stdin(null()).stdout(null()).stderr(null()).spawn().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_process_of_a_container_is_looked_at_and_runs_out_of_descriptors() {
    let container = Shared::new(true);
    let host = Host::new(&container);
    let waiting = Waiting::start();
    container.with(|it| it.pid = waiting.0.id());
    let limit = || DescriptorLimit::of(ProcessId::of(waiting.0.id()).unwrap()).unwrap();
    let before = limit();
    let socket = host.docker.display();
    let path = host.folder.path().join("shop.yaml");
    let text = format!(
        "title: The shop can open nothing more
steady-state-hypothesis:
  title: It runs
  probes:
    - name: runs
      provider: {{ type: procfs, container: shop, socket: {socket} }}
      tolerance:
        type: all
        of:
          - {{ type: jsonpath, path: $.running, expect: true }}
          - {{ type: number, target: pid, at-least: {pid}, at-most: {pid} }}
          - {{ type: number, target: fds, at-least: 3 }}
          - {{ type: number, target: restarts, at-most: 0 }}
method:
  - name: exhaustion
    type: action
    provider: {{ type: chaos, fault: fd-exhaustion, container: shop, socket: {socket}, duration: 600ms }}
recovery: {{ within: 5s, stable: 100ms }}
",
        pid = waiting.0.id(),
    );
    fs::write(&path, text).unwrap();
    let done = host.chaos(&["run", "--json", "shop.yaml"]).output().unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    assert_eq!(done.status.code(), Some(0), "{runs:#}");
    let evidence = &runs[0]["faults"][0]["evidence"][0];
    assert!(evidence["acted"].as_u64().unwrap() > 0, "{runs:#}");
    assert_eq!(limit(), before);
    assert!(container.asked().is_empty(), "{:?}", container.asked());
}

#[test]
fn what_does_not_run_is_left_alone_and_what_is_not_there_is_told() {
    let container = Shared::new(false);
    let host = Host::new(&container);
    let socket = host.docker.display().to_string();
    let (code, why) =
        host.bare(&format!("fault: stop, container: shop, socket: {socket}, duration: 50ms"));
    assert_eq!(code, 2, "{why}");
    assert!(container.asked().is_empty(), "{:?}", container.asked());
    let (code, why) =
        host.bare("fault: kill, container: shop, socket: /nonexistent/docker.sock, duration: 50ms");
    assert_eq!(code, 4, "{why}");
    assert!(why.contains("cannot reach the container engine at /nonexistent/docker.sock"), "{why}");
    let (code, why) =
        host.bare(&format!("fault: kill, container: shup, socket: {socket}, duration: 50ms"));
    assert_eq!((code, why.as_str()), (64, "there is no container `shup` on this host"));
}

#[test]
fn what_the_operator_works_through_is_not_touched() {
    let container = Shared::new(true);
    let host = Host::new(&container);
    // The tool descends from this test, as it does from an operator's shell and sshd.
    container.with(|it| it.pid = std::process::id());
    let fault = "fault: stop, container: shop, socket: SOCKET, duration: 1s";
    let (code, run) = host.run(fault, "$.running, expect: false");
    let because = run["because"].as_str().unwrap();
    assert!(code == 64 && because.contains("would cut you off"), "{code}: {because}");
    assert!(container.asked().is_empty(), "{:?}", container.asked());
}

#[test]
fn a_container_runs_again_when_the_tool_is_killed() {
    let container = Shared::new(true);
    let host = Host::new(&container);
    let experiment = host.experiment(
        "fault: stop, container: shop, socket: SOCKET, duration: 60s",
        "$.running, expect: false",
    );
    let mut run = host.chaos(&["run", &experiment]).stdout(Stdio::null()).spawn().unwrap();
    eventually("stopped", || !container.with(|it| it.running));
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGKILL).unwrap();
    run.wait().unwrap();
    eventually("running again", || {
        let healed = host.chaos(&["heal"]).output().unwrap();
        assert_eq!(healed.status.code(), Some(0), "{healed:?}");
        container.with(|it| it.running)
    });
    assert_eq!(container.asked(), ["stop", "start"]);
}

#[test]
fn each_line_of_a_container_counts_once_and_is_quoted_without_secrets() {
    let container = Shared::new(true);
    let host = Host::new(&container);
    // From before the run, in the same instant too.
    let before = Timestamp::now().as_nanosecond() as i64;
    container.with(|it| {
        it.log = ["kill", "stop", "start"].map(|what| (before, 1, format!("{what} 0 of x"))).into();
        it.cuts = 2;
    });
    let socket = host.docker.display();
    let exactly = |count: u32| {
        format!("{{ type: number, target: count, at-least: {count}, at-most: {count} }}")
    };
    let text = format!(
        "title: The shop says what happens to it
target: {{ container: shop, socket: {socket} }}
secrets: {{ key: s3cret }}
steady-state-hypothesis:
  title: It is not stopped
  probes:
    - name: nothing-stopped-it
      provider: {{ type: log, pattern: \"^stop . of (s3cret|x)$\" }}
      tolerance: {none}
method:
  - {{ name: outage, type: action,
      provider: {{ type: chaos, fault: stop, container: shop, socket: {socket}, duration: 600ms }} }}
recovery: {{ within: 5s, stable: 100ms }}
invariants:
  - name: stopped-once
    provider: {{ type: log, since: run, container: shop, socket: {socket}, pattern: ^stop }}
    tolerance: {four}
  - name: all-that-it-wrote
    provider: {{ type: log, since: run, pattern: of }}
    tolerance: {eight}
",
        none = exactly(0),
        four = exactly(4),
        eight = exactly(8),
    );
    fs::write(host.folder.path().join("shop.yaml"), text).unwrap();
    let done = host.chaos(&["run", "--json", "shop.yaml"]).output().unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let events = fs::read_dir(host.folder.path().join("chaos-results")).unwrap();
    let folder = events.map(|one| one.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let events = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert_eq!(done.status.code(), Some(1), "{runs:#}");
    let judged = ["holds", "broken", "holds", "holds"];
    let seen = runs[0]["expectations"].as_array().unwrap().iter().map(|one| one["status"].as_str());
    assert_eq!(seen.filter(|one| *one != Some("not-judged")).flatten().collect::<Vec<_>>(), judged);
    let quoted: Vec<&str> = events.lines().filter(|line| line.contains("\"logged\"")).collect();
    for line in 0..4 {
        let quotes = quoted.iter().filter(|one| one.contains(&format!("stop {line} of *****")));
        assert_eq!(quotes.count(), 1, "{quoted:#?}");
    }
    assert!(quoted.iter().any(|line| line.contains("\"container shop\"")), "{quoted:#?}");
    assert!(!events.contains("s3cret") && !events.contains("start 0 of x"), "{events}");
    assert_eq!(container.with(|it| it.cuts), 0);
    // Whose log cannot be had has not written nothing: it is not known.
    let other = fs::read_to_string(host.folder.path().join("shop.yaml")).unwrap();
    let other = other.replace("container: shop", "container: shup");
    fs::write(host.folder.path().join("other.yaml"), other).unwrap();
    let done = host.chaos(&["run", "--json", "other.yaml"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.code() == Some(1) && said.contains("there is no container"), "{said}");
}

#[test]
fn a_container_is_watched_while_a_workload_loads_it() {
    let container = Shared::new(true);
    let host = Host::new(&container);
    let waiting = Waiting::start();
    container.with(|it| it.pid = waiting.0.id());
    // What `/crash` asks for kills the container's process, as far as its engine tells.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let shop = container.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let crash = lines.next().is_some_and(|request| request.contains("/crash"));
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            if crash {
                shop.with(|it| it.pid = NO_PROCESS);
            }
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            let _ = (&stream).write_all(answer);
        }
    });
    let run = |path: &str, watch: &str| {
        let socket = host.docker.display();
        let text = format!(
            "title: Load
target: {{ container: shop, socket: {socket} }}
method:
  - name: load
    type: action
    provider:
      type: chaos
      workload:
        users: 2
        requests: [{{ url: \"http://127.0.0.1:{port}{path}\" }}]
        watch: {watch}
    tolerance: {{ type: operations, ok: 2, memory-peak: 64MiB }}
"
        );
        fs::write(host.folder.path().join("load.yaml"), text).unwrap();
        let done = host.chaos(&["run", "--json", "load.yaml"]).output().unwrap();
        (done.status.code().unwrap(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let socket = host.docker.display();
    let (code, said) = run("/", &format!("{{ container: shop, socket: {socket} }}"));
    assert_eq!(code, 0, "{said}");
    let (code, said) = run("/", &format!("{{ container: shup, socket: {socket} }}"));
    assert!(code == 64 && said.contains("there is no container `shup`"), "{code}: {said}");
    let (code, said) = run("/crash", "{}");
    assert!(code == 1 && said.contains("`shop` died and answers no more"), "{code}: {said}");
}
