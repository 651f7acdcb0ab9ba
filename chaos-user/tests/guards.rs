//! What a host's policy forbids is not done: `chaos inject` and `chaos run`, as a user types them.
//! Root; nothing is sent anywhere.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use serde_json::Value;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    netns: NetNs,
}

impl Place {
    fn new() -> Self {
        let netns = NetNs::anonymous().unwrap();
        netns
            .block_on(|| async {
                let netlink = Netlink::open().unwrap();
                let lo = netlink.link("lo").await.unwrap();
                netlink.set_up(&lo).await.unwrap();
            })
            .unwrap();
        Self { folder: tempfile::tempdir().unwrap(), netns }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs under a policy: exit code, what it printed, what it complained about.
    fn run(&self, policy: &Path, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_chaos"))
            .args(arguments)
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env("CHAOS_POLICY", policy)
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn inject(&self, policy: &Path, arguments: &[&str]) -> (i32, String, String) {
        let netns = self.netns.path();
        let common = ["inject", "drop", "--dry-run", "--netns", netns.to_str().unwrap()];
        self.run(policy, &[&common[..], arguments].concat())
    }
}

const APPROVAL: &str = "by: Ada\nticket: OPS-7\nexpires: 2100-01-01T00:00Z\n";

#[test]
fn production_needs_an_approval() {
    let place = Place::new();
    let policy = place.write("policy.yaml", "environment: production\n");
    let approval = place.write("approval.yaml", APPROVAL);
    let (code, _, text) = place.inject(&policy, &["--for", "1s"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("`production` needs an approval"), "{text}");
    let (code, _, text) = place.inject(&policy, &["--for", "1s", "--environment", "staging"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("this host is `production` by its policy"), "{text}");
    let (code, text, error) =
        place.inject(&policy, &["--for", "1s", "--approval", approval.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("approved by Ada (OPS-7) until 2100-01-01"), "{text}");
    assert!(text.contains("blast radius: 1 of 1 hosts"), "{text}");
    // Without a policy, whoever says that it is production means it.
    let nothing = place.write("nothing.yaml", "{}\n");
    let (code, ..) = place.inject(&nothing, &["--for", "1s", "--environment", "production"]);
    assert_eq!(code, 3);
    assert_eq!(place.inject(&nothing, &["--for", "1s"]).0, 0);
    let (code, _, text) = place.inject(&nothing, &["--for", "1s", "--environment", "prod"]);
    assert_eq!(code, 64);
    assert!(text.contains("did you mean `production`"), "{text}");
}

#[test]
fn limits_and_protection_of_a_policy_hold_for_everybody() {
    let place = Place::new();
    let policy = place.write(
        "policy.yaml",
        "always:\n  limits: { duration: 10s, loss: 20%, flows: 50% }\n  protect: [dns]\n",
    );
    let (code, _, text) = place.inject(&policy, &["--for", "11s"]);
    assert_eq!(code, 3, "{text}");
    for reason in ["lasts 11s, and at most 10s", "up to 100%, and at most 20%", "at most 50%"] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    let within = ["--for", "10s", "--loss", "20%", "--flows", "50%"];
    let (code, text, error) = place.inject(&policy, &within);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("protect dns"), "{text}");
}

#[test]
fn a_policy_that_others_could_have_written_stops_everything() {
    let place = Place::new();
    let good = place.write("good.yaml", "{}\n");
    assert_eq!(place.inject(&good, &["--for", "1s"]).0, 0);
    let writable = place.write("writable.yaml", "{}\n");
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o666)).unwrap();
    let foreign = place.write("foreign.yaml", "{}\n");
    chown(&foreign, Some(65_534), None).unwrap();
    let link = place.folder.path().join("link.yaml");
    symlink(&good, &link).unwrap();
    let pipe = place.folder.path().join("pipe.yaml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let open = place.folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("policy.yaml"), "{}\n").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let large = place.write("large.yaml", &format!("# {}\n{{}}\n", "x".repeat(2 << 20)));
    let missing = place.folder.path().join("missing.yaml");
    for (policy, why) in [
        (writable, "its mode is 666"),
        (foreign, "belongs to user 65534"),
        (link, "nothing is done without it"),
        (pipe, "not a regular file"),
        (open.join("policy.yaml"), "its mode is 777"),
        (large, "file too large"),
        (missing, "nothing is done without it"),
        (place.write("typo.yaml", "environmet: staging\n"), "typo.yaml:1:1: unknown key"),
    ] {
        let (code, _, text) = place.inject(&policy, &["--for", "1s"]);
        assert_eq!(code, 64, "{text}");
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[test]
fn a_run_that_is_not_allowed_leaves_a_report_that_says_so() {
    let place = Place::new();
    let experiment = place.write(
        "cut.yaml",
        "title: Cut\nenvironment: production\nmethod:\n  - { name: cut, type: action, provider: \
         { type: chaos, fault: drop, remote: [192.0.2.1], duration: 1s } }\n",
    );
    let nothing = place.write("nothing.yaml", "{}\n");
    let results = place.folder.path().join("results");
    let arguments =
        ["run", "--json", "--output", results.to_str().unwrap(), experiment.to_str().unwrap()];
    let (code, text, error) = place.run(&nothing, &arguments);
    assert_eq!(code, 3, "{error}");
    let findings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(findings[0]["verdict"], "ABORTED");
    assert!(findings[0]["because"].as_str().unwrap().contains("needs an approval"), "{text}");
    let folder = fs::read_dir(&results).unwrap().next().unwrap().unwrap().path();
    let log = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(log.contains("\"refused\"") && !log.contains("\"arming\""), "{log}");
    assert!(!place.folder.path().join("state").exists(), "nothing was touched");
}
