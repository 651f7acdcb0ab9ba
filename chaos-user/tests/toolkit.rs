//! Experiments of the Chaos Toolkit give the same journal here: the same files are run by both, and
//! what the journals say is compared. The toolkit comes from the Python package index.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

/// What is installed; fixed, so that a change of theirs does not break this.
const PACKAGES: [&str; 2] = ["chaostoolkit==1.19.0", "chaostoolkit-lib[jsonpath]==1.44.0"];

/// The toolkit's executable; installed once per target folder.
fn toolkit() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("CHAOS_TEST_TOOLKIT") {
        return Some(given.into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-toolkit");
    let (executable, marker) = (folder.join("bin/chaos"), folder.join(PACKAGES.concat()));
    if marker.exists() {
        return Some(executable);
    }
    let python = |arguments: &[&str]| {
        let done = Command::new("python3").args(arguments).stdin(Stdio::null()).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !python(&["-c", "import ensurepip, venv"]) {
        return None;
    }
    let venv = folder.display().to_string();
    assert!(python(&["-m", "venv", "--clear", &venv]), "python3 -m venv {venv}");
    let mut pip = Command::new(folder.join("bin/pip"));
    let done = pip.args(["install", "--quiet"]).args(PACKAGES).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    std::fs::write(marker, "").unwrap();
    Some(executable)
}

/// Answers a few paths over HTTP until the test ends.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(&stream));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream);
    let mut request = String::new();
    lines.read_line(&mut request).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let (name, value) = line.split_once(':').unwrap_or((line.trim(), ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    lines.read_exact(&mut vec![0; length]).ok()?;
    let (status, kind, body) = match request.split(' ').nth(1)? {
        "/ok" => ("200 OK", "text/plain", "hello there"),
        "/json" => ("200 OK", "application/json", r#"{"a":[{"b":1},{"b":2}]}"#),
        _ => ("404 Not Found", "text/plain", "no"),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .ok()
}

/// What of a journal has to be the same.
fn essence(journal: &Value) -> Value {
    let activities = |list: &Value| -> Vec<Value> {
        let all = list.as_array().into_iter().flatten();
        all.map(|one| json!([one["activity"]["name"], one["status"]])).collect()
    };
    let state = |state: &Value| {
        let probes = state["probes"].as_array().into_iter().flatten();
        let probes: Vec<Value> = probes
            .map(|one| json!([one["activity"]["name"], one["status"], one["tolerance_met"]]))
            .collect();
        json!([state["steady_state_met"], probes])
    };
    let states = &journal["steady_states"];
    json!({
        "status": journal["status"],
        "deviated": journal["deviated"],
        "before": state(&states["before"]),
        "after": state(&states["after"]),
        "looked during": states["during"].as_array().is_some_and(|looks| !looks.is_empty()),
        "run": activities(&journal["run"]),
        "rollbacks": activities(&journal["rollbacks"]),
    })
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path);
    serde_json::from_str(&text.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .unwrap()
}

#[test]
fn experiments_of_the_chaos_toolkit_give_the_same_journal() {
    let Some(toolkit) = toolkit() else {
        println!("CHAOS-SKIP experiments_of_the_chaos_toolkit_give_the_same_journal python-venv");
        return;
    };
    let url = serve();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/toolkit");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 21, "{files:?}");
    thread::scope(|scope| {
        let runs: Vec<_> =
            files.iter().map(|file| scope.spawn(|| compare(&toolkit, file, &url))).collect();
        let differences: Vec<String> =
            runs.into_iter().filter_map(|run| run.join().unwrap()).collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    });
}

fn compare(toolkit: &Path, file: &Path, url: &str) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let journal = place.path().join("theirs.json");
    let flag = place.path().join("flag");
    let run = |program: &Path| {
        let mut command = Command::new(program);
        command.env("CTK_URL", url).env("CTK_FLAG", &flag).current_dir(place.path());
        command.stdin(Stdio::null());
        command
    };
    let mut theirs = run(toolkit);
    theirs.args(["--log-file", "/dev/null", "run", "--rollback-strategy", "always"]);
    // What this tool reads from the file the toolkit's command line wants to be told.
    let strategy = &read(file)["runtime"]["hypothesis"]["strategy"];
    if let Some(strategy) = strategy.as_str() {
        theirs.args(["--hypothesis-strategy", strategy, "--hypothesis-frequency", "0.1"]);
    }
    if read(file)["runtime"]["hypothesis"]["fail_fast"] == true {
        theirs.arg("--fail-fast");
    }
    let theirs = theirs.arg("--journal-path").arg(&journal).arg(file).output().unwrap();
    if !journal.exists() {
        return Some(format!("{}: the toolkit wrote no journal: {theirs:?}", file.display()));
    }
    let _ = std::fs::remove_file(&flag);
    let ours = run(Path::new(env!("CARGO_BIN_EXE_chaos")))
        .args(["run", "--quiet", "--output", "results"])
        .arg(file)
        .output()
        .unwrap();
    let results = std::fs::read_dir(place.path().join("results")).into_iter().flatten().flatten();
    let Some(folder) = results.into_iter().find(|entry| entry.path().is_dir()) else {
        return Some(format!("{}: nothing was run: {ours:?}", file.display()));
    };
    let theirs = essence(&read(&journal));
    let ours = essence(&read(&folder.path().join("journal.json")));
    (theirs != ours).then(|| format!("{}:\ntheirs {theirs}\nours   {ours}", file.display()))
}
