//! Probes that ask somebody else, from the experiment's file to the wire: a Prometheus server, a DNS
//! server, and a database through its own command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, RCODE, ResourceRecord};

/// All that a query may have and a URL may not.
const QUERY: &str = r#"sum(rate(http_requests_total{code=~"5..|429",job="shop & co+"}[1m])) * 100 > 0 or vector(0)"#;
const SQL: &str = "select count(*) n from debts where note = 'a \"b\"'";

/// Answers as a Prometheus server below `/prom` does, to [`QUERY`] alone; keeps what it was asked.
fn prometheus() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prom/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let first = reply(&stream);
            into.lock().unwrap().extend(first);
        }
    });
    (url, asked)
}

fn reply(mut stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    let target = first.split(' ').nth(1)?;
    let query = target.strip_prefix("/prom/api/v1/query?query=").map(decoded);
    let (status, body) = if query.as_deref() == Some(QUERY) {
        let result = json!([{"metric": {"job": "a"}, "value": [1_700_000_000.5, "1.5"]},
            {"metric": {"job": "b"}, "value": [1_700_000_000.5, "2"]}]);
        let data = json!({"resultType": "vector", "result": result});
        ("200 OK", json!({"status": "success", "data": data}))
    } else {
        ("400 Bad Request", json!({"status": "error", "error": format!("asked for {target}")}))
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .ok()?;
    Some(first)
}

/// What a form or a query says.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (code, after) = rest.split_at(2);
                rest = after;
                let code = std::str::from_utf8(code).unwrap();
                bytes.push(u8::from_str_radix(code, 16).unwrap());
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Knows one name, in both families.
fn dns() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut packet = Packet::parse(&buffer[..length]).unwrap().into_reply();
            let question = packet.questions[0].clone();
            if question.qname.to_string() == "shop.test" {
                let data = if format!("{:?}", question.qtype).contains("AAAA") {
                    RData::AAAA(AAAA::from(Ipv6Addr::LOCALHOST))
                } else {
                    RData::A(A::from(Ipv4Addr::new(192, 0, 2, 7)))
                };
                packet.answers.push(ResourceRecord::new(question.qname, CLASS::IN, 1, data));
            } else {
                *packet.rcode_mut() = RCODE::NameError;
            }
            socket.send_to(&packet.build_bytes_vec().unwrap(), from).unwrap();
        }
    });
    address
}

/// A database's own command: sqlite3 where there is one, else a script in its place that knows one
/// answer to one question.
fn database(folder: &Path) -> String {
    let create = "create table debts(note); insert into debts values('a \"b\"'), ('c')";
    let made = Command::new("sqlite3").arg(folder.join("shop.db")).arg(create).status();
    if made.is_ok_and(|status| status.success()) {
        return "sqlite3".into();
    }
    fs::write(folder.join("shop.db"), "[{\"n\":1}]").unwrap();
    fs::write(folder.join("query"), SQL).unwrap();
    let script = folder.join("sql");
    let check = "[ \"$1\" = -json ] && [ \"$3\" = \"$(cat ${0%/*}/query)\" ] && cat \"$2\"";
    fs::write(&script, format!("#!/bin/sh\n{check}\n")).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    "./sql".into()
}

#[test]
fn what_others_know_is_asked_and_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (url, asked) = prometheus();
    let invariant = |name: &str, provider: Value, tolerance: Value| json!({"name": name, "provider": provider, "tolerance": tolerance});
    let database = database(folder.path());
    let sql = json!({"type": "process", "path": database,
        "arguments": ["-json", folder.path().join("shop.db"), SQL]});
    let number = |low: f64, high: f64| json!({"type": "number", "target": "value", "at-least": low, "at-most": high});
    let address =
        |address: &str| json!({"type": "jsonpath", "path": "$.addresses[0]", "expect": address});
    let name = |name: &str, family: &str| json!({"type": "dns", "name": name, "family": family, "server": "${resolver}"});
    let experiment = json!({
        "title": "Others are asked",
        "configuration": {"resolver": dns(), "window": "1m"},
        "target": {"url": url},
        "method": [],
        "invariants": [
            invariant("errors", json!({"type": "prometheus", "url": "${target.url}",
                "query": QUERY.replace("1m", "${window}")}), number(3.5, 3.5)),
            invariant("wrong-query", json!({"type": "prometheus", "url": "${target.url}", "query": "up{"}),
                json!({"type": "fails"})),
            invariant("address", name("shop.test", "ipv4"), address("192.0.2.7")),
            invariant("address-6", name("shop.test", "ipv6"), address("::1")),
            invariant("no-address", name("gone.test", "ipv4"), json!({"type": "fails"})),
            invariant("one-debt", sql, json!({"type": "jsonpath", "target": "stdout",
                "path": "$[0].n", "at-least": 1, "at-most": 1})),
        ],
    });
    fs::write(folder.path().join("ask.json"), experiment.to_string()).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["run", "--json", "ask.json"])
        .env("CHAOS_STATE_DIR", folder.path().join("state"))
        .env_remove("SSH_CONNECTION")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    assert_eq!((done.status.code(), &runs[0]["verdict"]), (Some(0), &json!("PASS")), "{runs:#}");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "{asked:?}");
    // As a URL has to write it: nothing in it ends the query, or is taken for something else.
    let query = asked[0].split(' ').nth(1).unwrap().split_once("query=").unwrap().1;
    assert!(!query.contains(['&', '#', '"', '{', ' ']), "{query}");
    assert!(query.contains("shop+%26+co%2B") || query.contains("shop%20%26%20co%2B"), "{query}");
    let mut beside = fs::read_dir(folder.path().join("chaos-results")).unwrap();
    let run = beside.find_map(|one| Some(one.unwrap().path()).filter(|path| path.is_dir()));
    let events = fs::read_to_string(run.unwrap().join("events.jsonl")).unwrap();
    let told = "status 400: asked for /prom/api/v1/query?query=up%7B";
    assert!(events.contains(told), "{events}");
}
