//! The real binaries on loopback ports, stopped when a test ends.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it, and a failure here is a failed test"
)]

pub(crate) mod custody;
pub(crate) mod disk;

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A process of ours and its log.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    fn start(binary: &str, args: &[String]) -> Self {
        Self::try_start(binary, args).expect("it listens")
    }

    fn try_start(binary: &str, args: &[String]) -> Result<Self, String> {
        let mut child = Command::new(binary)
            .args(args)
            .env("MARKETPLACE_DEFECTS", "")
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (lines, errors) = (Arc::clone(&log), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.contains("\"listening\"") {
                    let _ = sender.send(line.clone());
                }
                lines.lock().unwrap().push(line);
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                errors.lock().unwrap().push(line);
            }
        });
        // The sender goes away when the process ends, so that is noticed at once.
        let Ok(line) = receiver.recv_timeout(Duration::from_secs(20)) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(log.lock().unwrap().join("\n"));
        };
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["addresses"].as_str().unwrap().split(',').next().unwrap();
        Ok(Self { child, address: address.parse().unwrap(), log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its executable, for a check of its data.
    pub(crate) fn run(args: &[&str]) -> (bool, Value) {
        let output = Command::new(env!("CARGO_BIN_EXE_marketplace")).args(args).output().unwrap();
        (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// SIGTERM; the exit status.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until `count` lines contain `text`: lines arrive a moment after the answer. How many do.
    pub(crate) async fn logged(&self, text: &str, count: usize) -> usize {
        let lines = || self.log().lines().filter(|line| line.contains(text)).count();
        for _ in 0..100 {
            if lines() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        lines()
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most resident memory there ever was, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("\"INFO\"")).collect();
            let last = lines.len().saturating_sub(30);
            eprintln!("--- log of process {}\n{}", self.child.id(), lines[last..].join("\n"));
        }
    }
}

/// A marketplace with three wallets.
pub(crate) struct Lab {
    pub(crate) server: Process,
    pub(crate) wallets: Vec<Process>,
    pub(crate) folder: TempDir,
    args: Vec<String>,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

pub(crate) const ROLES: [&str; 3] = ["buyer", "vendor", "arbiter"];

impl Lab {
    /// Starts everything, with demo users, and `extra` arguments for the server.
    pub(crate) fn new(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(folder, None, extra)
    }

    /// The same with the server's data in `data`.
    pub(crate) fn in_folder(folder: TempDir, data: Option<&Path>, extra: &[&str]) -> Self {
        Self::start(folder, data, "127.0.0.1:0", extra)
    }

    /// The same with the server at another address.
    pub(crate) fn listening(address: &str, extra: &[&str]) -> Self {
        Self::start(tempfile::tempdir().unwrap(), None, address, extra)
    }

    fn start(folder: TempDir, data: Option<&Path>, listen: &str, extra: &[&str]) -> Self {
        let start =
            |(seed, role): (usize, &&str)| wallet(&folder.path().join(role), "127.0.0.1:0", seed);
        let wallets: Vec<_> = ROLES.iter().enumerate().map(start).collect();
        let data = data.map_or_else(|| folder.path().join("data"), Path::to_owned);
        let mut args = vec![
            format!("--listen={listen}"),
            format!("--data={}", data.display()),
            "--seed-demo".to_owned(),
            "--reconcile-ms=200".to_owned(),
            "--wallet-check-ms=200".to_owned(),
            "--breaker-open-ms=500".to_owned(),
        ];
        for (role, wallet) in ROLES.iter().zip(&wallets) {
            args.push(format!("--wallet-{role}=http://{}", wallet.address));
        }
        // An option that is given replaces the one that is there.
        let name = |arg: &str| arg.split('=').next().map(str::to_owned);
        args.retain(|arg| !extra.iter().any(|given| name(given) == name(arg)));
        args.extend(extra.iter().map(|arg| (*arg).to_owned()));
        let server = Process::start(env!("CARGO_BIN_EXE_marketplace"), &args);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1));
        Self { server, wallets, folder, args, http: http.build().unwrap() }
    }

    /// A healthy lab but for one defect.
    pub(crate) fn with_defect(defect: &str, extra: &[&str]) -> Self {
        let flag = format!("--defect={defect}");
        let mut all = vec![flag.as_str()];
        all.extend(extra);
        Self::new(&all)
    }

    /// Starts the server again, after it was stopped.
    pub(crate) fn restart(&mut self) {
        self.try_restart().expect("it listens");
    }

    /// Starts a second server on the same data.
    pub(crate) fn try_second(&mut self) -> Result<Process, String> {
        Process::try_start(env!("CARGO_BIN_EXE_marketplace"), &self.args)
    }

    pub(crate) fn try_restart(&mut self) -> Result<(), String> {
        self.server = Process::try_start(env!("CARGO_BIN_EXE_marketplace"), &self.args)?;
        Ok(())
    }

    pub(crate) fn restart_wallet(&mut self, at: usize) {
        let address = self.wallets[at].address.to_string();
        self.wallets[at].kill();
        self.wallets[at] = wallet(&self.folder.path().join(ROLES[at]), &address, at);
    }

    /// Makes a wallet misbehave.
    pub(crate) async fn control(&self, at: usize, control: Value) {
        let url = format!("http://{}/sim", self.wallets[at].address);
        let answer = self.http.post(url).json(&control).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 204);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.http.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, user: &str, path: &str, body: Value) -> Answer {
        self.try_post(user, path, body).await.expect("an answer")
    }

    pub(crate) async fn try_post(
        &self,
        user: &str,
        path: &str,
        body: Value,
    ) -> reqwest::Result<Answer> {
        try_answer(self.http.post(self.url(path)).header("X-User", user).json(&body)).await
    }

    pub(crate) async fn post_with_key(
        &self,
        user: &str,
        key: &str,
        path: &str,
        body: Value,
    ) -> Answer {
        let request = self.http.post(self.url(path)).header("X-User", user).json(&body);
        answer(request.header("Idempotency-Key", key)).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.http.get(self.url(path)).send().await.unwrap().text().await.unwrap()
    }

    /// Posts on an escrow and expects success.
    pub(crate) async fn step(&self, user: &str, id: i64, what: &str, body: Value) -> Value {
        let answer = self.post(user, &format!("/api/escrows/{id}/{what}"), body).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        answer.body
    }

    /// Sends `count` bodies of 10 MB at once; the statuses of the answers, 0 if there was none.
    pub(crate) async fn large_bodies(&self, count: usize) -> Vec<u16> {
        let url = self.url("/api/users/buyer-1/deposit");
        let posts = (0..count).map(|_| self.http.post(&url).body(vec![b'x'; 10 << 20]).send());
        let answers = futures_util::future::join_all(posts).await.into_iter();
        answers.map(|answer| answer.map_or(0, |answer| answer.status().as_u16())).collect()
    }

    /// Waits until the server is gone; says whether it is.
    pub(crate) async fn dies(&mut self) -> bool {
        for _ in 0..100 {
            if !self.server.is_running() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// A new escrow of `buyer`.
    pub(crate) async fn buy(&self, buyer: &str) -> i64 {
        let answer = self.post(buyer, "/api/escrows", json!({"listing_id": "listing-1"})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["id"].as_i64().unwrap()
    }

    /// An escrow of `buyer`, in `state`.
    pub(crate) async fn escrow(&self, buyer: &str, state: &str) -> i64 {
        let id = self.buy(buyer).await;
        let steps: [(&str, &str, &str, Value); 4] = [
            ("awaiting_funds", buyer, "multisig/run", json!({})),
            ("funded", buyer, "fund", json!({})),
            ("shipped", "vendor-1", "ship", json!({})),
            ("disputed", buyer, "dispute", json!({"reason": "broken"})),
        ];
        for (after, user, what, body) in steps {
            if self.state(id).await == state {
                break;
            }
            self.step(user, id, what, body).await;
            if after == state {
                break;
            }
        }
        assert_eq!(self.state(id).await, state);
        id
    }

    pub(crate) async fn state(&self, id: i64) -> String {
        let answer = self.get(&format!("/api/escrows/{id}")).await;
        answer.body["state"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn balance(&self, user: &str) -> i64 {
        self.get(&format!("/api/users/{user}")).await.body["balance"].as_i64().unwrap()
    }

    /// The violated invariants.
    pub(crate) async fn problems(&self) -> Vec<String> {
        let report = self.get("/api/invariants?stuck_after_ms=1500").await.body;
        let problems = report["problems"].as_array().expect("a report").iter();
        problems.map(|problem| problem["invariant"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until `condition` holds; says whether it did in time.
    pub(crate) async fn eventually<F: Future<Output = bool>>(
        &self,
        within: Duration,
        mut condition: impl FnMut() -> F,
    ) -> bool {
        let start = Instant::now();
        while start.elapsed() < within {
            if condition().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

fn wallet(data: &Path, listen: &str, seed: usize) -> Process {
    let args = [
        format!("--listen={listen}"),
        format!("--data={}", data.display()),
        format!("--seed={seed}"),
        "--control".to_owned(),
    ];
    Process::start(env!("CARGO_BIN_EXE_wallet-sim"), &args)
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    try_answer(request).await.expect("an answer")
}

async fn try_answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok(Answer { status, body: answer.json().await.unwrap_or_default(), headers })
}
