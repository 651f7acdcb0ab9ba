//! Systems that live in network namespaces which exist already. Root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use serde_json::Value;
use tempfile::TempDir;

const PORT: u16 = 7400;

/// Two namespaces that a pair of devices joins; somebody listens in the second.
struct System {
    buyer: NetNs,
    server: NetNs,
    folder: TempDir,
}

impl System {
    fn new() -> Self {
        let (buyer, server) = (NetNs::anonymous().unwrap(), NetNs::anonymous().unwrap());
        let pair = async { Netlink::open().unwrap().add_veth(("b", 2), ("s", 3), &server).await };
        buyer.block_on(|| pair).unwrap().unwrap();
        for (netns, device, address) in
            [(&buyer, "b", "10.78.0.1/24"), (&server, "s", "10.78.0.2/24")]
        {
            let up = async {
                let netlink = Netlink::open().unwrap();
                let link = netlink.link(device).await.unwrap();
                netlink.add_address(&link, address.parse().unwrap()).await.unwrap();
                netlink.set_up(&link).await.unwrap();
            };
            netns.block_on(|| up).unwrap();
        }
        buyer.block_on(|| Netlink::wait_running(&["b"], Duration::from_secs(5))).unwrap().unwrap();
        let listener = server.run(|| TcpListener::bind(("10.78.0.2", PORT)).unwrap()).unwrap();
        thread::spawn(move || listener.incoming().for_each(drop));
        Self { buyer, server, folder: tempfile::tempdir().unwrap() }
    }

    /// Runs an experiment in which these are `buyer` and `server`.
    fn run(&self, rest: &str) -> (Option<i32>, String, Value) {
        let (buyer, server) = (self.buyer.path(), self.server.path());
        let target = format!(
            "target:\n  namespaces: {{ buyer: {}, server: {} }}\n",
            buyer.display(),
            server.display()
        );
        fs::write(self.folder.path().join("cut.yaml"), format!("title: t\n{target}{rest}"))
            .unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_chaos"))
            .args(["run", "--json", "cut.yaml"])
            .env("CHAOS_STATE_DIR", self.folder.path().join("state"))
            .env_remove("SSH_CONNECTION")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let runs: Value = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), said, runs[0].clone())
    }
}

#[test]
fn namespaces_are_nodes_that_can_be_cut_off_from_each_other() {
    let system = System::new();
    let (code, said, run) = system.run(&format!(
        "steady-state-hypothesis:
  title: The buyer reaches the server
  probes:
    - name: reaches
      from: buyer
      during: [before, after]
      provider: {{ type: tcp, host: server, port: {PORT}, timeout: 5s }}
      tolerance: true
    - name: cut-off
      from: buyer
      during: fault
      provider: {{ type: tcp, host: 10.78.0.2, port: {PORT}, timeout: 200ms }}
      tolerance: {{ type: fails }}
    - name: runs-inside
      from: buyer
      provider: {{ type: process, path: readlink, arguments: [/proc/self/ns/net] }}
      tolerance: {{ type: regex, target: stdout, pattern: \"net:.{inode}.\" }}
method:
  - name: cut
    type: action
    provider: {{ type: chaos, fault: partition, between: [buyer, server], duration: 1500ms }}
recovery: {{ within: 20s, stable: 100ms }}
",
        inode = system.buyer.inode(),
    ));
    assert_eq!(code, Some(0), "{said}{run:#}");
    let evidence = run["faults"][0]["evidence"].as_array().unwrap();
    let acted = evidence.iter().filter(|rule| rule["acted"].as_u64() > Some(0));
    assert!(acted.count() > 0, "{run:#}");
}

#[test]
fn what_is_no_namespace_or_no_node_is_told() {
    let system = System::new();
    let cut = "method:\n  - { name: f, type: action, provider: { type: chaos, fault: drop, \
               node: sever, duration: 1s } }\n";
    let (code, said, _) = system.run(cut);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("there is no node `sever`; did you mean `server`?"), "{said}");
    fs::write(
        system.folder.path().join("gone.yaml"),
        "title: t\ntarget: { namespaces: { shop: /nonexistent/netns } }\nmethod: []\n",
    )
    .unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["run", "gone.yaml"])
        .current_dir(system.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(64), "{said}");
    assert!(said.contains("`target.namespaces`: shop: "), "{said}");
}
