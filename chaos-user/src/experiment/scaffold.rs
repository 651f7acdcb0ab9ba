//! A first experiment for somebody's own service.

use std::fmt::{self, Write as _};

/// A service, as its owner describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// What the experiment is called in its title.
    pub name: String,
    /// A page of it that answers 200 while all is well.
    pub url: String,
    /// The address in the URL, if it is one.
    pub address: Option<String>,
    /// The port in the URL.
    pub port: u16,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its container.
    pub container: Option<String>,
    /// A file with the number of its process.
    pub pid_file: Option<String>,
    /// The network namespace it lives in: a name, the number of a process, or a path.
    pub netns: Option<String>,
    /// The folder with its data.
    pub data: Option<String>,
    /// Its logs.
    pub logs: Vec<String>,
}

/// The text of an experiment that starts small: the service loses its packets for two seconds.
pub fn scaffold(service: &Service) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, service);
    text
}

fn write(out: &mut String, service: &Service) -> fmt::Result {
    let Service { name, url, port, .. } = service;
    let title = quoted(&format!("{name} cannot be reached for two seconds"));
    writeln!(out, "# Made by `chaos init`. Read it, change it, and try it where nobody is hurt:")?;
    writeln!(out, "#   chaos validate FILE    chaos run FILE")?;
    writeln!(out, "title: {title}")?;
    writeln!(out, "description: >")?;
    writeln!(
        out,
        "  Packets to the service are lost. Its users cannot reach it meanwhile, and reach it"
    )?;
    writeln!(out, "  again afterwards, without anybody's help.")?;
    writeln!(out, "tags: [network]\n")?;
    writeln!(
        out,
        "# How to reach and control the system. `${{target.url}}` and the like stand for these"
    )?;
    writeln!(
        out,
        "# values in urls, paths and arguments; `logs` are quoted when something fails."
    )?;
    writeln!(out, "target:")?;
    writeln!(out, "  url: {}", quoted(url))?;
    let keys = [
        ("unit", &service.unit),
        ("container", &service.container),
        ("pid-file", &service.pid_file),
        ("data", &service.data),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            writeln!(out, "  {key}: {}", quoted(value))?;
        }
    }
    let (mut from, mut node) = ("", "");
    if let Some(netns) = &service.netns {
        writeln!(out, "  # `service` is a node: probes run there, faults hit its packets alone.")?;
        writeln!(out, "  namespaces: {{ service: {} }}", quoted(netns))?;
        (from, node) = ("      from: service\n", "      node: service\n");
    }
    if !service.logs.is_empty() {
        let logs: Vec<String> = service.logs.iter().map(|log| quoted(log)).collect();
        writeln!(out, "  logs: [{}]", logs.join(", "))?;
    }
    writeln!(out, "\nsteady-state-hypothesis:")?;
    writeln!(out, "  title: {}", quoted(&format!("{name} answers")))?;
    writeln!(out, "  probes:")?;
    writeln!(out, "    - name: service-answers")?;
    write!(out, "{from}")?;
    writeln!(out, "      during: [before, after]")?;
    writeln!(out, "      provider: {{ type: http, url: \"${{target.url}}\", timeout: 1s }}")?;
    writeln!(out, "      tolerance: 200")?;
    writeln!(
        out,
        "    # What users see under the fault. A better service would answer from a cache."
    )?;
    writeln!(out, "    - name: service-is-cut-off")?;
    write!(out, "{from}")?;
    writeln!(out, "      during: fault")?;
    writeln!(out, "      provider: {{ type: http, url: \"${{target.url}}\", timeout: 300ms }}")?;
    writeln!(out, "      tolerance: {{ type: fails }}")?;
    for (at, log) in service.logs.iter().enumerate() {
        writeln!(out, "    - name: no-panic-{}", at + 1)?;
        writeln!(
            out,
            "      provider: {{ type: log, path: {}, pattern: \"(?i)panic\" }}",
            quoted(log)
        )?;
        writeln!(out, "      tolerance: {{ type: jsonpath, path: $.count, expect: 0 }}")?;
    }
    if let Some(pid_file) = &service.pid_file {
        writeln!(out, "    - name: process-runs")?;
        writeln!(out, "      provider: {{ type: procfs, pid-file: {} }}", quoted(pid_file))?;
        writeln!(out, "      tolerance: {{ type: jsonpath, path: $.running, expect: true }}")?;
    }
    writeln!(out, "\nmethod:")?;
    writeln!(out, "  - name: packets-are-lost")?;
    writeln!(out, "    type: action")?;
    writeln!(out, "    provider:")?;
    writeln!(out, "      type: chaos")?;
    writeln!(out, "      fault: drop")?;
    write!(out, "{node}")?;
    writeln!(out, "      protocol: tcp")?;
    if let Some(address) = &service.address {
        writeln!(out, "      remote: [{}]", quoted(address))?;
    }
    writeln!(out, "      remote-ports: [{port}]")?;
    writeln!(out, "      duration: 2s")?;
    writeln!(out, "\nrecovery:")?;
    writeln!(out, "  within: 30s")?;
    writeln!(out, "  stable: 2s")?;
    let steps = [
        ("restart-the-unit", "systemctl", "unit", &service.unit),
        ("restart-the-container", "docker", "container", &service.container),
    ];
    if steps.iter().any(|(.., value)| value.is_some()) {
        writeln!(
            out,
            "  # What a person would do if it does not recover by itself. Each is counted."
        )?;
        writeln!(out, "  steps:")?;
    }
    for (name, program, key, value) in steps {
        if value.is_some() {
            writeln!(out, "    - name: {name}")?;
            writeln!(out, "      provider:")?;
            writeln!(out, "        type: process")?;
            writeln!(out, "        path: {program}")?;
            writeln!(out, "        arguments: [restart, \"${{target.{key}}}\"]")?;
            writeln!(out, "        timeout: 60s")?;
        }
    }
    writeln!(
        out,
        "\n# What has to be true at the very end, whatever happened: better than an answer is"
    )?;
    writeln!(out, "# a page that checks the books.")?;
    writeln!(out, "invariants:")?;
    writeln!(out, "  - name: service-answers-at-the-end")?;
    write!(out, "{}", from.strip_prefix("  ").unwrap_or_default())?;
    writeln!(out, "    provider: {{ type: http, url: \"${{target.url}}\", timeout: 5s }}")?;
    writeln!(out, "    tolerance: 200")
}

/// A text that YAML reads as just this: JSON's quotes are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::experiment::Experiment;

    #[test]
    fn whatever_is_said_of_a_service_makes_an_experiment() {
        let some = |text: &str| Some(text.to_owned());
        let plain = Service {
            name: "shop: \"the\" #1".into(),
            url: "http://127.0.0.1:8080/healthz".into(),
            address: some("127.0.0.1"),
            port: 8080,
            ..Service::default()
        };
        let full = Service {
            unit: some("shop.service"),
            container: some("shop"),
            pid_file: some("/run/shop: 1.pid"),
            netns: some("shop"),
            data: some("/var/lib/shop"),
            logs: vec!["/var/log/shop.log".into(), "a, b]".into()],
            address: None,
            ..plain.clone()
        };
        for service in [&plain, &full] {
            let text = scaffold(service);
            let read = Experiment::parse(&text, Path::new("e.yaml"))
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read.title, "shop: \"the\" #1 cannot be reached for two seconds");
            assert!(read.has_fault());
            let steps = if service.unit.is_some() { 2 } else { 0 };
            assert_eq!(read.recovery_steps.len(), steps);
            let inside = read.activities().filter(|one| one.from.as_deref() == Some("service"));
            assert_eq!(inside.count(), if service.netns.is_some() { 3 } else { 0 });
            assert_eq!(read.target["url"], "http://127.0.0.1:8080/healthz");
        }
        assert_eq!(Experiment::parse(&scaffold(&full), Path::new("e")).unwrap().logs, full.logs);
    }
}
