//! Secrets that a system gives back wherever it can are in nothing that a run leaves or prints, not
//! even a piece of them. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A secret by itself, and members of one that is data.
const TOKEN: &str = "kQ7vXw2Z+pR9t/L4&mN\"8s";
const PASSWORD: &str = "hJ3bYf6D=gU1c#eA5%oT";
const PIN: &str = "80417253";
/// Members too short to be hidden, and a secret that is a word of the format and of the event log.
const WORD: &str = "probe";
/// No piece of a secret of this length may be seen.
const PIECE: usize = 6;

/// The name and password of `Authorization: Basic`.
fn basic() -> String {
    // Of `user:` and PASSWORD; a test has no use for an encoder of its own that may be wrong as well.
    "Basic dXNlcjpoSjNiWWY2RD1nVTFjI2VBNSVvVA==".into()
}

/// Answers with what it was asked, and writes that to its log: long lines and short ones.
fn serve(log: PathBuf) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (log, told) = (log.clone(), Arc::clone(&told));
            thread::spawn(move || answer(&stream, &log, &told));
        }
    });
    (format!("http://{address}"), count)
}

fn answer(mut stream: &TcpStream, log: &Path, told: &AtomicU64) -> Option<()> {
    let mut lines = BufReader::new(stream);
    let (mut first, mut head) = (String::new(), String::new());
    lines.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body);
    told.fetch_add(u64::from(head.contains(TOKEN)), Ordering::SeqCst);
    let mut log = OpenOptions::new().append(true).create(true).open(log).ok()?;
    // Where lines are cut, a piece of the secret would be left.
    for width in [100, 390, 490] {
        writeln!(log, "{}{TOKEN} of {first:?}", "x".repeat(width)).ok()?;
    }
    let (status, kind, said) = match first.split(['?', ' ']).nth(1)? {
        "/ok" => (200, "text/plain", format!("{}{TOKEN}", "y".repeat(4090))),
        "/refused" => {
            let pad = "z".repeat(105);
            (400, "application/json", json!({ "error": format!("{pad}{TOKEN}") }).to_string())
        }
        _ => (
            200,
            "application/json",
            json!({"first": first, "head": head, "body": body,
            PASSWORD: [PIN.parse::<u64>().unwrap()]})
            .to_string(),
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         X-Echo: {}\r\nConnection: close\r\n\r\n{said}",
        said.len(),
        basic(),
    )
    .ok()
}

const EXPERIMENT: &str = r#"
title: Everything that comes back is full of secrets
secrets:
  all:
    token: { type: env, key: SECRET_TOKEN }
    word: { type: env, key: SECRET_WORD }
    account: { type: env, key: SECRET_ACCOUNT, env_var_type: json }
target: { url: "URL", logs: [LOG] }
steady-state-hypothesis:
  title: It answers
  probes:
    - name: answers
      provider: { type: http, url: "${target.url}/ok", headers: { X-Token: "${token}" } }
      tolerance: 200
method:
  - name: echo
    type: probe
    provider: { type: http, url: "${target.url}/echo?word=a", method: GET, headers: { X-Token: "${token}", Authorization: "BASIC" }, arguments: { q: "${token}", account: "${account}" } }
    tolerance: { type: regex, target: body, pattern: never-there }
  - name: says-it-at-once
    type: probe
    provider: { type: process, path: echo, arguments: ["0123456789", "${token}", "${account}"] }
  - name: not-a-url
    type: probe
    provider: { type: http, url: "http://[${token}]/" }
  - name: cut-in-words
    type: probe
    provider: { type: process, path: echo, arguments: ["LONG${token}"] }
    tolerance: { type: regex, target: stdout, pattern: never-there }
  - name: load
    type: action
    provider:
      type: chaos
      workload:
        users: 2
        requests:
          - { name: refused, url: "${target.url}/refused", body: { token: "${token}" } }
        verify:
          - { name: verified, url: "${target.url}/echo", headers: { X-Token: "${token}" }, tolerance: { type: regex, target: body, pattern: never-there } }
    tolerance: { type: operations, ok: 2 }
  - name: in-the-log
    type: probe
    provider: { type: log, path: LOG, pattern: xxx, since: run }
    tolerance: { type: number, target: count, at-most: 0 }
recovery: { within: 2s, stable: 100ms }
"#;

struct Place {
    folder: TempDir,
    url: String,
    told: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("system.log");
        let (url, told) = serve(log.clone());
        let text = EXPERIMENT
            .replace("LONG", &"w".repeat(140))
            .replace("URL", &url)
            .replace("LOG", &log.display().to_string())
            .replace("BASIC", &basic());
        std::fs::write(folder.path().join("leaky.yaml"), text).unwrap();
        Self { folder, url, told }
    }

    fn chaos(&self, arguments: &[&str]) -> Output {
        let account = json!({"user": "amy", "password": PASSWORD, "pin": PIN.parse::<u64>().unwrap(),
            "tls": true, "db": 1});
        Command::new(env!("CARGO_BIN_EXE_chaos"))
            .args(arguments)
            .env("SECRET_TOKEN", TOKEN)
            .env("SECRET_WORD", WORD)
            .env("SECRET_ACCOUNT", account.to_string())
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("chaos-results")
    }

    /// The folder of the only run.
    fn run(&self) -> PathBuf {
        let mut beside = std::fs::read_dir(self.results()).unwrap().map(|one| one.unwrap().path());
        beside.find(|path| path.is_dir()).unwrap()
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The first piece of a secret that is in a text.
fn piece_in(text: &str) -> Option<&'static str> {
    let pieces = [TOKEN, PASSWORD, PIN]
        .into_iter()
        .flat_map(|secret| (0..=secret.len() - PIECE).map(move |at| &secret[at..at + PIECE]));
    // Encoded as queries, as forms, as JSON in JSON, as HTML, and as `Authorization: Basic`.
    let encoded = [
        "XW2Z%2B",
        "Xw2Z%2BpR",
        "mN%228",
        "%3DgU1c",
        "%23eA5",
        "mN\\\"8s",
        "4&amp;mN",
        "dXNlcjpoSjNi",
        "pIM2JZZjZE",
        "WWY2RD1nVT",
    ];
    pieces.chain(encoded).find(|piece| text.contains(piece))
}

#[test]
fn no_piece_of_a_secret_is_left_anywhere() {
    let place = Place::new();
    let done = place.chaos(&["run", "--seed", "7", "leaky.yaml"]);
    let both = |done: &Output| {
        let (out, err) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        format!("{out}{err}")
    };
    assert_eq!(done.status.code(), Some(1), "{}", both(&done));
    assert!(place.told.load(Ordering::SeqCst) > 2, "the server was never told");

    let mut shown = vec![("what it printed".to_owned(), both(&done))];
    let stored = files(&place.results());
    assert!(stored.len() >= 8, "{stored:?}");
    for file in stored.iter().chain(&files(&place.folder.path().join("state"))) {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        shown.push((file.display().to_string(), text));
    }
    let log = place.run().display().to_string();
    for format in ["terminal", "json", "markdown", "junit", "journal", "html"] {
        let done = place.chaos(&["report", &log, "--format", format]);
        assert_eq!(done.status.code(), Some(1), "{format}: {}", both(&done));
        shown.push((format!("report as {format}"), both(&done)));
    }
    shown.push(("findings".into(), both(&place.chaos(&["run", "--json", "leaky.yaml"]))));
    shown.push(("history".into(), both(&place.chaos(&["history", "--json"]))));
    for (what, text) in &shown {
        assert_eq!(piece_in(text), None, "{what} of {}", place.url);
    }

    // It had the occasion: each of these is there without its secret.
    let events = std::fs::read_to_string(place.run().join("events.jsonl")).unwrap();
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done = |name: &str| {
        let mut all = events.iter().map(|event| &event["event"]["done"]);
        all.rfind(|done| done["name"] == name).unwrap().clone()
    };
    let echo = done("echo");
    let body = &echo["output"]["body"];
    assert_eq!(body["*****"], json!(["*****"]), "{echo:#}");
    assert!(body["first"].as_str().unwrap().contains("q=*****&account="), "{echo:#}");
    assert!(body["head"].as_str().unwrap().contains("Basic *****"), "{echo:#}");
    assert_eq!(echo["output"]["headers"]["x-echo"], "Basic *****");
    assert!(body["head"].as_str().unwrap().contains("x-token: *****"), "{echo:#}");
    assert!(
        done("says-it-at-once")["output"]["stdout"].as_str().unwrap().contains("89 ***** *****")
    );
    assert_eq!(done("not-a-url")["error"].as_str().unwrap().matches("*****").count(), 1);
    assert!(
        done("cut-in-words")["seen"].as_str().unwrap().contains("w*****"),
        "{:#}",
        done("cut-in-words")
    );
    assert!(done("load")["seen"].as_str().unwrap().contains("z*****"), "{:#}", done("load"));
    let lines = done("in-the-log")["output"]["lines"].clone();
    assert!(lines.as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("x*****")));
    let logged = events.iter().filter_map(|event| event["event"]["logged"]["lines"].as_array());
    let logged: Vec<&str> = logged.flatten().filter_map(|line| line["text"].as_str()).collect();
    assert!(logged.iter().any(|line| line.contains("x*****")), "{logged:?}");
    // A secret that is a word of the log hides in what was said, and leaves the log readable.
    assert!(events.iter().any(|event| event["event"]["done"]["kind"] == WORD));
}
