//! What reads, and what is said about what does not.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::fault::LineOptions;

fn refused(text: &str) -> String {
    Experiment::parse(text, Path::new("e.yaml")).unwrap_err().to_string()
}

const CUT: &str = r#"
title: The buyer is cut off
lab: lab.yaml
steady-state-hypothesis:
  title: Everybody reaches the server
  probes:
    - name: buyer-reaches-server
      from: buyer
      during: [before, after]
      provider: { type: http, url: "http://server:8080/healthz", timeout: 0.5 }
      tolerance: 200
method:
  - name: cut
    type: action
    provider: { type: chaos, fault: partition, between: [buyer, server], duration: 2s }
"#;

#[test]
fn an_experiment_of_its_own_reads() {
    let read = Experiment::parse(CUT, Path::new("e.yaml")).unwrap();
    let probe = &read.hypothesis.as_ref().unwrap().probes[0];
    assert!(probe.during.has(Phase::Before) && !probe.during.has(Phase::Fault));
    assert_eq!(read.runtime.hypothesis, HypothesisStrategy::Continuously);
    let Provider::Fault(fault) = &read.method[0].provider else { panic!("no fault") };
    let FaultWork::Network(spec) = &fault.work else { panic!("no network fault") };
    assert_eq!(
        (spec.nodes.as_slice(), spec.remote_nodes.as_slice()),
        (&["buyer".to_owned()][..], &["server".to_owned()][..])
    );
    read.check_nodes(Path::new("e.yaml"), &["buyer".into(), "server".into()]).unwrap();
    let unknown = read.check_nodes(Path::new("e.yaml"), &["buyers".into(), "server".into()]);
    insta::assert_snapshot!(unknown.unwrap_err(), @"e.yaml:7:7: there is no node `buyer`; did you mean `buyers`?; known are buyers, server");
}

#[test]
fn an_experiment_of_the_toolkit_reads_unchanged() {
    let text = r#"{
        "version": "1.0.0", "title": "t", "description": "d", "tags": ["a"],
        "configuration": {"url": {"type": "env", "key": "URL", "default": "http://localhost"}},
        "secrets": {"api": {"token": {"type": "env", "key": "TOKEN"}}},
        "steady-state-hypothesis": {"title": "h", "probes": [
            {"type": "probe", "name": "p", "tolerance": [200, 201],
             "provider": {"type": "http", "url": "${url}", "timeout": [1, 2], "verify_tls": false}},
            {"type": "probe", "name": "q", "tolerance": {"type": "jsonpath", "path": "$.a[*]", "target": "body", "count": 2},
             "provider": {"type": "process", "path": "echo", "arguments": {"-n": 1}}}]},
        "method": [{"ref": "p"}, {"type": "action", "name": "a", "background": true,
             "pauses": {"before": 1, "after": 0.5},
             "provider": {"type": "process", "path": "true", "arguments": "-x 'a b'"}}],
        "rollbacks": [], "runtime": {"hypothesis": {"strategy": "continuously", "frequency": 2}},
        "contributions": {"reliability": "high"}
    }"#;
    let read = Experiment::parse(text, Path::new("e.json")).unwrap();
    assert_eq!(read.method[0].name, "p");
    assert_eq!(read.runtime.frequency, Span::from_secs(2));
    assert!(!read.has_fault());
}

#[test]
fn mistakes_are_told_with_their_place() {
    let replaced = |old: &str, new: &str| {
        assert!(CUT.contains(old), "{old}");
        refused(&CUT.replacen(old, new, 1))
    };
    insta::assert_snapshot!(replaced("title: Every", "titel: Every"), @"e.yaml:5:3: unknown key `titel`; did you mean `title`?");
    insta::assert_snapshot!(replaced("timeout: 0.5", "timout: 0.5"), @"e.yaml:10:66: unknown key `timout`; did you mean `timeout`?");
    insta::assert_snapshot!(replaced("title: The", "runtime: { hypothesis: { strategy: default, fail_fast: true } }\ntitle: The"), @"e.yaml:2:56: `fail_fast` needs looks while the method runs: the strategy `continuously` or `during-method-only`");
    insta::assert_snapshot!(replaced("fault: partition", "fault: partion"), @"e.yaml:15:37: `partion` is not a fault; did you mean `partition`?; valid are partition, drop, reject, duplicate, corrupt, delay, rate, reorder, netem, stop, kill, pause, restart, start, disk-fill, fd-exhaustion, disk-error, cpu-pressure, memory-pressure, io-pressure");
    insta::assert_snapshot!(replaced("duration: 2s", "duration: 2"), @"e.yaml:15:84: `2` is not a duration: it has no unit; did you mean `2s` or `2ms`?");
    insta::assert_snapshot!(replaced(", duration: 2s", ""), @"e.yaml:15:15: the fault `partition` needs `duration`, more than 0, such as `5s`: it ends by itself");
    insta::assert_snapshot!(replaced("duration: 2s", "duration: 2s, url: x"), @"e.yaml:15:93: `url` has no meaning for `partition`; it takes fault, duration, between, behavior, direction, protocol, local-ports, remote-ports, flows, connections, seed");
    insta::assert_snapshot!(replaced("[buyer, server]", "[buyer, buyer]"), @r#"e.yaml:15:57: `between` must be two nodes or two lists of nodes, with no node on both sides, not ["buyer","buyer"]"#);
    insta::assert_snapshot!(replaced("[before, after]", "[before, afer]"), @"e.yaml:9:15: `afer` is not a phase; did you mean `after`?; valid are before, fault, after, always, start, end, edge, continuous, on-chaos");
    insta::assert_snapshot!(replaced("      tolerance: 200\n", ""), @"e.yaml:7:7: the activity `buyer-reaches-server` needs `tolerance`, what its outcome has to be");
    insta::assert_snapshot!(replaced("tolerance: 200", "tolerance: { type: regexp }"), @"e.yaml:11:18: `regexp` is not a type of tolerance; did you mean `regex`?; valid are regex, jsonpath, range, number, count, growth, latency, fails, percentile, operations, all");
    insta::assert_snapshot!(replaced("tolerance: 200", "tolerance: { type: regex, pattern: '(' }"), @"e.yaml:11:18: `(` is not a regular expression: unclosed group");
    insta::assert_snapshot!(replaced("lab: lab.yaml\n", ""), @"e.yaml:6:7: `from` names a lab node, but the experiment has no `lab`");
    insta::assert_snapshot!(replaced("type: http, url", "type: python, module: m, url"), @"e.yaml:10:17: python providers are not run: `m` would need the Chaos Toolkit; use `http`, `process` or `chaos`, or call it through `process`");
    insta::assert_snapshot!(replaced("title: The buyer", "lab: : ["), @"e.yaml:2:6: mapping values are not allowed in this context");
    insta::assert_snapshot!(refused("title: t\n"), @"e.yaml:1:1: an experiment needs `method`, a list of actions and probes, which may be empty");
    insta::assert_snapshot!(refused("{}"), @"e.yaml:1:1: an experiment needs `title`, what it is about in one line");
}

#[test]
fn packets_that_are_copied_or_corrupted_read() {
    use crate::plan::{Checksum, Corrupt, Duplicate, Loss};
    let with = |keys: &str| {
        let text = CUT.replacen("fault: partition, between: [buyer, server]", keys, 1);
        assert_ne!(text, CUT);
        Experiment::parse(&text, Path::new("e.yaml")).map_err(|error| error.to_string())
    };
    let behavior = |keys: &str| {
        let read = with(keys).unwrap();
        let Provider::Fault(fault) = &read.method[0].provider else { panic!("no fault") };
        let FaultWork::Network(spec) = &fault.work else { panic!("no network fault") };
        spec.behavior
    };
    let tenth = "10%".parse().unwrap();
    assert_eq!(
        behavior("fault: duplicate, node: buyer, share: 10%, copies: 3"),
        Behavior::Duplicate(Duplicate { share: Loss::Random(tenth), copies: 3 })
    );
    assert_eq!(
        behavior("fault: duplicate, exact: 10%"),
        Behavior::Duplicate(Duplicate { share: Loss::Exact(tenth), copies: 1 })
    );
    let corrupt = |checksum| Behavior::Corrupt(Corrupt { share: Loss::Always, checksum });
    assert_eq!(behavior("fault: corrupt"), corrupt(Checksum::Detected));
    assert_eq!(behavior("fault: corrupt, checksum: silent"), corrupt(Checksum::Silent));
    for (keys, reason) in [
        ("fault: duplicate, copies: 9", "`copies` must be a number of copies from 1 to 8, not 9"),
        ("fault: duplicate, copies: 0", "`copies` must be a number of copies from 1 to 8, not 0"),
        ("fault: corrupt, checksum: loud", "`loud` is not what becomes of the checksum"),
        ("fault: corrupt, share: 1%, exact: 2%", "`exact`"),
        ("fault: corrupt, copies: 2", "`copies` has no meaning for `corrupt`"),
    ] {
        let error = with(keys).unwrap_err();
        assert!(error.starts_with("e.yaml:15:") && error.contains(reason), "{error}");
    }
}

#[test]
fn tolerances_judge_like_the_toolkit() {
    use serde_json::json;
    let accepts = |tolerance: serde_json::Value, output: serde_json::Value| {
        let text = json!({"title": "t", "method": [{"name": "p", "type": "probe", "tolerance": tolerance,
            "provider": {"type": "process", "path": "x"}}]});
        let read = Experiment::parse(&text.to_string(), Path::new("e")).unwrap();
        let seen = Observation { output, error: None, took: 1_000_000 };
        read.method[0].tolerance.as_ref().unwrap().accepts(&seen)
    };
    let reply = json!({"status": 200, "body": {"a": [1, 2], "s": "ok"}});
    assert!(accepts(json!(200), reply.clone()) && !accepts(json!(201), reply.clone()));
    assert!(
        accepts(json!([200, 204]), reply.clone()) && !accepts(json!([100, 300]), reply.clone())
    );
    assert!(accepts(json!([1, 5]), json!(3)) && !accepts(json!([1, 5]), json!(6)));
    assert!(accepts(json!("x"), json!("x")) && accepts(json!(true), json!(true)));
    let path = |rest: serde_json::Value| {
        let mut tolerance = json!({"type": "jsonpath", "path": "$.a[*]", "target": "body"});
        tolerance.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        accepts(tolerance, reply.clone())
    };
    assert!(path(json!({})) && path(json!({"count": 2})) && !path(json!({"count": 3})));
    assert!(path(json!({"expect": [1, 2]})) && !path(json!({"expect": 1})));
    assert!(accepts(
        json!({"type": "regex", "pattern": "^o", "target": "stdout"}),
        json!({"stdout": "ok"})
    ));
    assert!(accepts(json!({"type": "range", "range": [1, 2]}), json!("1.5")));
    assert!(!accepts(json!({"type": "range", "range": [1, 2]}), json!("many")));
    assert!(accepts(json!({"type": "latency", "below": "2ms"}), json!(null)));
    assert!(!accepts(
        json!({"type": "all", "of": [200, {"type": "latency", "below": "1ms"}]}),
        reply
    ));
    assert!(!accepts(json!({"type": "fails"}), json!({})));
    let seen = json!({"rss": 2_000_000, "lines": ["a", "b"], "first": {"rss": 1_500_000}});
    let number = |limit: &str, to: serde_json::Value| {
        accepts(json!({"type": "number", "target": "rss", limit: to}), seen.clone())
    };
    assert!(number("below", json!("2MiB")) && !number("below", json!(2_000_000)));
    assert!(number("at-most", json!("2MB")) && number("above", json!(1)));
    let count =
        |most| accepts(json!({"type": "count", "target": "lines", "at-most": most}), seen.clone());
    assert!(count(2) && !count(1));
    let growth = |below: serde_json::Value| {
        accepts(json!({"type": "growth", "target": "rss", "below": below}), seen.clone())
    };
    assert!(growth(json!("34%")) && !growth(json!("33%")) && growth(json!("1MB")));
    let found = |below| {
        accepts(json!({"type": "jsonpath", "path": "$.a[*]", "below": below}), json!({"a": [1, 2]}))
    };
    assert!(found(3) && !found(2));
    assert!(accepts(json!({"type": "percentile", "share": "95%", "of": true}), json!(true)));
}

#[test]
fn what_starts_something_is_no_fault() {
    let start = "provider: { type: chaos, fault: start, unit: shop }";
    let file = |method: &str, rest: &str| format!("title: t\nmethod: [{method}]\n{rest}");
    let action = format!("{{ name: f, type: action, {start} }}");
    let problem = refused(&file(&action, ""));
    assert!(problem.contains("`start` breaks nothing"), "{problem}");
    let timed = action.replace("unit: shop", "unit: shop, duration: 1s");
    let problem = refused(&file("", &format!("rollbacks: [{timed}]")));
    assert!(problem.contains("so it has no duration"), "{problem}");
    for place in ["rollbacks: [IT]", "recovery: { steps: [IT] }"] {
        let text = file("", &place.replace("IT", &action));
        let read = Experiment::parse(&text, Path::new("e.yaml")).unwrap();
        assert!(read.changes_anything() && !read.has_fault());
    }
    let stop = action.replace("fault: start", "fault: stop, duration: 1s");
    let problem = refused(&file("", &format!("rollbacks: [{stop}]")));
    assert!(problem.contains("a fault is an action of the method"), "{problem}");
}

#[test]
fn faults_of_hosts_are_read_strictly() {
    let fault = |text: &str| {
        refused(&format!(
            "title: t\nlab: l\nmethod:\n  - {{ name: f, type: action,\n      provider: {{ type: chaos, {text} }} }}\n"
        ))
    };
    insta::assert_snapshot!(fault("fault: diskfill, path: /x, duration: 1s"), @"e.yaml:5:39: `diskfill` is not a fault; did you mean `disk-fill`?; valid are partition, drop, reject, duplicate, corrupt, delay, rate, reorder, netem, stop, kill, pause, restart, start, disk-fill, fd-exhaustion, disk-error, cpu-pressure, memory-pressure, io-pressure");
    insta::assert_snapshot!(fault("fault: disk-fill, path: /x"), @"e.yaml:5:17: the fault `disk-fill` needs `duration`, more than 0, such as `5s`: it ends by itself");
    insta::assert_snapshot!(fault("fault: disk-fill, duration: 1s, node: n"), @"e.yaml:5:17: the fault `disk-fill` without `path` needs `process`, here or as a key of `target`");
    insta::assert_snapshot!(fault("fault: disk-fill, duration: 1s, path: /x, level: 90"), @"e.yaml:5:81: `90` is not a percentage: it has no unit; did you mean `90%`?");
    insta::assert_snapshot!(fault("fault: disk-fill, duration: 1s, path: /x, level: 90%, leave: 1MiB"), @"e.yaml:5:93: `level` and `leave` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: disk-fill, duration: 1s, path: /x, leave: 1M"), @"e.yaml:5:81: `1M` is ambiguous: some read it as a power of 1000 and some of 1024; write `1MB` for the one or `1MiB` for the other");
    insta::assert_snapshot!(fault("fault: kill, duration: 1s, socket: /x"), @"e.yaml:5:67: `socket` needs `container`, which is what it leads to");
    insta::assert_snapshot!(fault("fault: kill, duration: 1s, node: n, container: c"), @"e.yaml:5:65: `container` and `process` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: kill, duration: 1s, unit: u, process: p"), @"e.yaml:5:77: `unit` and `process` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: kill, duration: 1s, unit: u, container: c"), @"e.yaml:5:79: `unit` and `container` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: fd-exhaustion, duration: 1s, unit: u, pid-file: /p"), @"e.yaml:5:87: `unit` and `pid-file` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: fd-exhaustion, duration: 1s, pid-file: /p, node: n"), @"e.yaml:5:88: `pid-file` and `process` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: fd-exhaustion, duration: 1s"), @"e.yaml:5:17: the fault `fd-exhaustion` needs `node`, here or as a key of `target`");
    insta::assert_snapshot!(fault("fault: disk-error, duration: 1s, path: /x"), @"e.yaml:5:17: the fault `disk-error` needs `errno`, such as `ENOSPC`: what operations return");
    insta::assert_snapshot!(fault("fault: disk-error, duration: 1s, path: /x, errno: ENOSPACE"), @"e.yaml:5:82: `ENOSPACE` is not an error of a filesystem; did you mean `ENOSPC`?; valid are ENOSPC, EDQUOT, EIO, EROFS");
    insta::assert_snapshot!(fault("fault: disk-error, duration: 1s, path: /x, errno: EIO, operations: [write, fsync]"), @"e.yaml:5:107: `fsync` is not an operation of a filesystem; valid are read, write, open-for-writing, create, remove, rename, attributes");
    insta::assert_snapshot!(fault("fault: disk-error, duration: 1s, path: /x, errno: EIO, operations: []"), @"e.yaml:5:99: `operations` must be at least one operation, such as `write`, not []");
    insta::assert_snapshot!(fault("fault: disk-error, duration: 1s, path: /x, errno: EIO, cgroup: a, unit: b"), @"e.yaml:5:104: `cgroup` and `unit` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: disk-error, duration: 1s, path: /x, errno: EIO, level: 90%"), @"e.yaml:5:94: `level` has no meaning for `disk-error`; it takes fault, duration, path, node, process, cgroup, unit, errno, operations, share, exact, seed, force");
    insta::assert_snapshot!(fault("fault: cpu-pressure, duration: 1s, cgroup: shop"), @"e.yaml:5:17: the fault `cpu-pressure` needs `cpus`, how many it may use, such as `0.2`");
    insta::assert_snapshot!(fault("fault: cpu-pressure, duration: 1s, cgroup: shop, cpus: 0.001"), @"e.yaml:5:87: `cpus` must be a number of CPUs from 0.01 to 4096, not 0.001");
    insta::assert_snapshot!(fault("fault: cpu-pressure, duration: 1s, cgroup: shop, unit: shop, cpus: 1"), @"e.yaml:5:75: `cgroup` and `unit` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: cpu-pressure, duration: 1s, cpus: 1"), @"e.yaml:5:17: the fault `cpu-pressure` without `cgroup` needs `node`, here or as a key of `target`");
    insta::assert_snapshot!(fault("fault: memory-pressure, duration: 1s, cgroup: shop"), @"e.yaml:5:17: the fault `memory-pressure` needs `high`, such as `64MiB`, or `level`, such as `80%` of what it has");
    insta::assert_snapshot!(fault("fault: memory-pressure, duration: 1s, cgroup: shop, high: 0"), @"e.yaml:5:90: `high` must be more than nothing, such as `1MiB`, not 0B");
    insta::assert_snapshot!(fault("fault: memory-pressure, duration: 1s, cgroup: shop, high: 1MiB, level: 9%"), @"e.yaml:5:103: `high` and `level` exclude each other; keep one");
    insta::assert_snapshot!(fault("fault: io-pressure, duration: 1s, cgroup: shop, rbps: 1MiB"), @"e.yaml:5:17: the fault `io-pressure` needs `path`, a file on the disk, or the disk");
    insta::assert_snapshot!(fault("fault: io-pressure, duration: 1s, cgroup: shop, path: /x"), @"e.yaml:5:17: the fault `io-pressure` needs `wbps`, or another of `rbps`, `riops`, `wiops`: how much it may use in a second");
    insta::assert_snapshot!(fault("fault: io-pressure, duration: 1s, cgroup: shop, path: /x, riops: 0"), @"e.yaml:5:97: `riops` must be at least 1 in a second, not 0");
    insta::assert_snapshot!(fault("fault: disk-fill, duration: 1s, path: /x, process: p"), @"e.yaml:5:70: `path` and `process` exclude each other; keep one");
}

#[test]
fn what_probes_look_at_is_read_strictly() {
    let one = |provider: &str, tolerance: &str| {
        format!(
            "title: t\nlab: l\nmethod:\n  - {{ name: p, type: probe, tolerance: {tolerance},\n      provider: {provider} }}\n"
        )
    };
    let provider = |text: &str| refused(&one(text, "1"));
    let tolerance = |text: &str| refused(&one("{ type: log, path: x, pattern: x }", text));
    insta::assert_snapshot!(provider("{ type: logs, pattern: x }"), @"e.yaml:5:25: `logs` is not a type of provider; did you mean `log`?; valid are http, process, tcp, dns, log, procfs, metrics, prometheus, unit, container, chaos, python");
    insta::assert_snapshot!(provider("{ type: log, path: x }"), @"e.yaml:5:17: a log provider needs `pattern`, what to look for");
    insta::assert_snapshot!(provider("{ type: log, pattern: x, process: p }"), @"e.yaml:5:17: a log provider without `path` needs `node`, here or as a key of `target`");
    insta::assert_snapshot!(provider("{ type: log, path: x, pattern: x, node: p }"), @"e.yaml:5:36: `path` and `process` exclude each other; keep one");
    insta::assert_snapshot!(provider("{ type: log, path: x, pattern: x, since: fase }"), @"e.yaml:5:58: `fase` is not a beginning; valid are phase, run");
    insta::assert_snapshot!(provider("{ type: procfs, pid-file: x, node: n }"), @"e.yaml:5:52: `pid-file` and `process` exclude each other; keep one");
    insta::assert_snapshot!(provider("{ type: metrics, url: x }"), @"e.yaml:5:17: a metrics provider needs `metric`, the metric's name");
    insta::assert_snapshot!(provider("{ type: metrics, url: x, metric: x, query: x }"), @"e.yaml:5:60: `query` has no meaning for `metrics`; it takes url, metric, labels, timeout");
    insta::assert_snapshot!(provider("{ type: prometheus, url: x }"), @"e.yaml:5:17: a prometheus provider needs `query`, the query in PromQL");
    insta::assert_snapshot!(provider("{ type: dns, name: x, server: resolver }"), @"e.yaml:5:47: `server` must be an address, or an address and a port such as `10.0.0.2:53`, not resolver");
    insta::assert_snapshot!(tolerance("{ type: number, target: count }"), @"e.yaml:4:40: a tolerance of type number needs `below`, or `above`, `at-least` or `at-most`");
    insta::assert_snapshot!(tolerance("{ type: number, below: 5M }"), @r#"e.yaml:4:40: `below` must be a number, or a size such as `64MiB`, not "5M""#);
    insta::assert_snapshot!(tolerance("{ type: growth, target: rss, below: 0% }"), @r#"e.yaml:4:40: `below` must be more than 0: a percentage such as `20%`, a number, or a size, not "0%""#);
    insta::assert_snapshot!(tolerance("{ type: all, of: [{ type: percentile, share: 9%, of: 1 }] }"), @"e.yaml:4:40: a percentile counts looks, so it has to be the outermost tolerance");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|([a-z:{}\\[\\], \n-]{0,80})") {
        let _ = Experiment::parse(&text, Path::new("e"));
    }
}

#[test]
fn modes_of_probes_have_the_names_that_people_know() {
    let read = |during: &str| {
        let text = CUT.replace("[before, after]", during);
        Experiment::parse(&text, Path::new("e.yaml")).unwrap().hypothesis.unwrap().probes[0].during
    };
    for (known, ours) in [
        ("start", "before"),
        ("end", "after"),
        ("edge", "[before, after]"),
        ("continuous", "always"),
        ("on-chaos", "fault"),
        ("[start, on-chaos]", "[before, fault]"),
    ] {
        assert_eq!(read(known), read(ours), "{known}");
    }
}

#[test]
fn what_was_seen_is_one_line() {
    let output = serde_json::json!({"status": 200, "body": "a\n  b\t\u{1b}[31mc\r\n"});
    let seen = Observation { output, error: None, took: 1_000_000 };
    assert_eq!(Tolerance::describe_seen(&seen), "status 200, a b [31mc after 1.0 ms");
}

#[test]
fn groups_are_flat_and_have_nothing_but_members() {
    let group = |element: &str| format!("title: t\nmethod:\n  - {element}\n");
    let one = "{ name: a, type: action, provider: { type: process, path: x } }";
    let read = Experiment::parse(&group(&format!("parallel: [{one}]")), Path::new("e")).unwrap();
    assert!(read.method[0].background && read.method[0].group.is_some());
    for (element, message) in [
        (format!("{{ name: b, parallel: [{one}] }}"), "`parallel` and `name` exclude each other"),
        ("parallel: []".to_owned(), "without activities"),
        (format!("parallel: [{{ parallel: [{one}] }}]"), "in one another"),
    ] {
        let told = refused(&group(&element));
        assert!(told.contains(message), "{told}");
    }
    let told = refused(&format!("title: t\nmethod: []\nrollbacks:\n  - parallel: [{one}]\n"));
    assert!(told.contains("belongs into the method"), "{told}");
}

#[test]
fn what_holds_packets_is_checked_where_it_is_written() {
    let provider = "    provider: { type: chaos, duration: 1s, ";
    let file = |keys: &str| {
        format!("title: t\nmethod:\n  - name: slow\n    type: action\n{provider}{keys} }}\n")
    };
    let keys = "fault: delay, latency: 5ms, jitter: 3s, keep-order: true, per-packet: true, \
                threads: 4, spin: 20us, priority: 0";
    let read = Experiment::parse(&file(keys), Path::new("e.yaml")).unwrap();
    let Provider::Fault(fault) = &read.method[0].provider else { panic!("no fault") };
    let FaultWork::Network(spec) = &fault.work else { panic!("no rules") };
    let detour = spec.detour.as_ref().unwrap();
    let LineOptions { per_packet, threads, spin, priority } = detour.line;
    assert!(per_packet);
    assert_eq!(threads, std::num::NonZeroU16::new(4));
    assert_eq!((spin, priority), (Some(Span::from_nanos(20_000)), Some(0)));
    assert_eq!(detour.impairment.to_string(), "delay 5ms ± 3s uniform in order");
    for (keys, at, message) in [
        ("fault: rate, rate: 1mbit, queue: 0", "queue: ", "`queue` must be at least 1, not 0"),
        ("fault: reorder, reorder: 5%, latency: 1s, gap: 0", "gap: ", "`gap` must be at least 1"),
        ("fault: delay, latency: 1s, threads: 17", "threads: ", "`threads` must be 1 to 16"),
        ("fault: delay, latency: 1s, threads: 0", "threads: ", "`threads` must be 1 to 16"),
        ("fault: delay, latency: 1s, spin: 5ms", "spin: ", "`spin` must be at most 1ms"),
        ("fault: delay, latency: 1s, priority: 100", "priority: ", "`priority` must be 0 to 99"),
        ("fault: delay, latency: 1s, backend: netem, threads: 2", "backend: ", "--threads"),
        ("fault: rate, rate: 1mbit, police: true, threads: 2", "threads: ", "exclude each other"),
        ("fault: delay, latency: 1s, limit: 0", "limit: ", "`limit` must be at least 1"),
        ("fault: delay, latency: 2h", "latency: ", "a latency of 7200s is longer than"),
        ("fault: delay, latency: 1s, jitter: 2h", "jitter: ", "a jitter of 7200s is longer than"),
        (
            "fault: delay, backend: netem, latency: 1s, jitter: 3s",
            "jitter: ",
            "--backend netem cannot do this",
        ),
        ("fault: delay, latency: 1s, distribution: normal", "bution: ", "needs `jitter`"),
        ("fault: delay, latency: 1s, correlation: 5%", "correlation: ", "needs `jitter`"),
        ("fault: delay, latency: 1s, keep-order: true", "keep-order: ", "needs `jitter`"),
        (
            "fault: delay, latency: 1s, per-packet: true, backend: netem",
            "backend: ",
            "--per-packet",
        ),
    ] {
        let text = refused(&file(keys));
        let line = format!("{provider}{keys}");
        let column = line.find(at).unwrap() + at.len() + 1;
        assert!(text.contains(message), "{keys}: {text}");
        assert!(text.contains(&format!(":5:{column}")), "{keys}: column {column}: {text}");
    }
}

#[test]
fn a_rate_can_drop_what_exceeds_it() {
    let provider = "    provider: { type: chaos, duration: 1s, fault: rate, ";
    let file = |keys: &str| {
        format!("title: t\nmethod:\n  - name: slow\n    type: action\n{provider}{keys} }}\n")
    };
    for (keys, burst, ramp) in
        [("", 131_072, 0), (", burst: 64KiB", 65_536, 0), (", ramp: 500ms", 131_072, 500)]
    {
        let text = file(&format!("rate: 1mbit, police: true{keys}"));
        let read = Experiment::parse(&text, Path::new("e.yaml")).unwrap();
        let Provider::Fault(fault) = &read.method[0].provider else { panic!("no fault") };
        let FaultWork::Network(spec) = &fault.work else { panic!("no rules") };
        assert_eq!((&spec.detour, spec.ramp), (&None, Span::from_ms(ramp)));
        let police = crate::plan::Police { rate: "1mbit".parse().unwrap(), burst };
        assert_eq!(spec.behavior, Behavior::Police(police));
    }
    for (keys, message) in [
        ("police: true", "needs `rate`"),
        ("rate: 1mbit, burst: 64KiB", "`burst` needs `police`"),
        ("rate: 1mbit, police: true, burst: 1kB", "burst"),
        ("rate: 1kbit, police: true", "1kbit"),
        ("rate: 1mbit, police: true, queue: 5", "exclude each other"),
        ("rate: 1mbit, police: true, ramp: 5s", "would never be whole"),
    ] {
        let text = refused(&file(keys));
        assert!(text.contains(message), "{keys}: {text}");
    }
}

#[test]
fn a_whole_device_takes_what_the_command_line_takes() {
    let file = |keys: &str| {
        format!(
            "title: t\nmethod:\n  - name: slow\n    type: action\n    provider: {{ type: chaos, \
             fault: netem, devices: [lo], duration: 1s, {keys} }}\n"
        )
    };
    for (keys, said) in [
        ("loss: 5%, loss-correlation: 20%", "loss 5.00% (correlation 20.00%)"),
        ("loss-gemodel: [1%, 25%]", "1.00%"),
        ("loss-state: [1%, 25%, 3%, 4%, 5%]", "loss by four states"),
        ("duplicate: 5%, duplicate-correlation: 20%", "duplicate 5.00% (correlation 20.00%)"),
        ("corrupt: 5%, corrupt-correlation: 20%", "corrupt 5.00% (correlation 20.00%)"),
        (
            "latency: 5ms, reorder: 5%, reorder-correlation: 20%",
            "reorder 5.00% (correlation 20.00%)",
        ),
        (
            "rate: 1mbit, packet-overhead: -14, cell-size: 53, cell-overhead: 5",
            "packet_overhead: -14, cell_size: 53, cell_overhead: 5",
        ),
        ("slot: [20ms], slot-packets: 3, slot-bytes: 9000", "20ms"),
        ("slot: [20ms, 40ms]", "20ms to 40ms"),
        ("slot: [20ms], slot-jitter: 5ms, slot-distribution: pareto", "pareto"),
        ("latency: 5ms, jitter: 1ms, table: [-8192, 0, 8192]", "5ms ± 1ms"),
        ("latency: 5ms, ramp: 1s", "delay 5ms"),
    ] {
        let read = Experiment::parse(&file(keys), Path::new("e.yaml")).unwrap();
        let Provider::Fault(fault) = &read.method[0].provider else { panic!("no fault") };
        let FaultWork::Netem(spec) = &fault.work else { panic!("no netem") };
        let text = format!("{}; {:?}", spec.netem, spec.netem);
        assert!(text.contains(said), "{keys}: {text}");
    }
    for (keys, message) in [
        ("latency: 5ms, loss-correlation: 20%", "`loss-correlation` needs `loss`"),
        ("loss: 5%, loss-gemodel: [1%, 25%]", "exclude each other"),
        ("loss-gemodel: [1%]", "two to four shares"),
        ("loss-state: [1%, 1%, 1%, 1%, 1%, 1%]", "one to five shares"),
        ("latency: 5ms, packet-overhead: 5", "`packet-overhead` needs `rate`"),
        ("slot: [1ms, 2ms, 3ms]", "one time, or the shortest and the longest"),
        ("slot: [1ms, 2ms], slot-jitter: 1ms", "with `slot-jitter` just one"),
        ("latency: 5ms, table: [1, 2]", "`table` needs `jitter`"),
        ("latency: 5ms, jitter: 1ms, table: []", "1 to 16384 entries"),
        ("latency: 5ms, jitter: 1ms, table: [1], distribution: normal", "exclude each other"),
    ] {
        let text = refused(&file(keys));
        assert!(text.contains(message), "{keys}: {text}");
    }
}

#[test]
fn a_whole_device_is_named_and_its_netem_checked() {
    let file = |keys: &str| {
        format!(
            "title: t\nmethod:\n  - name: slow\n    type: action\n    provider: {{ type: chaos, \
             fault: netem, duration: 1s, {keys} }}\n"
        )
    };
    let read = Experiment::parse(
        &file("devices: [lo], latency: 500ms, jitter: 50ms, distribution: normal, reorder: 25%"),
        Path::new("e.yaml"),
    );
    let read = read.unwrap();
    let Provider::Fault(fault) = &read.method[0].provider else { panic!("no fault") };
    let FaultWork::Netem(spec) = &fault.work else { panic!("no netem") };
    assert_eq!(
        spec.netem.to_string(),
        "delay 500ms ± 50ms normal, reorder 25.00%, limit 100000 packets"
    );
    for (keys, message) in [
        ("latency: 1ms", "needs `devices`"),
        ("devices: [lo]", "needs `latency`"),
        ("devices: [lo], latency: 1ms, remote: [10.0.0.1]", "`remote` has no meaning"),
        ("devices: [lo], latency: 1ms, jitter: 3s", "2.147483647"),
        ("devices: [lo], latency: 1ms, jitter: 1ms, distribution: norml", "did you mean `normal`"),
        ("devices: [eth0], node: server, latency: 1ms", "no `lab`"),
    ] {
        let text = refused(&file(keys));
        assert!(text.contains(message), "{keys}: {text}");
    }
}

#[test]
fn a_tolerance_that_is_a_probe_is_given_the_outcome() {
    let read = |tolerance: &str| {
        let text = format!(
            "title: t\nmethod:\n  - {{ name: p, type: probe, provider: {{ type: process, path: p }},\n      tolerance: {tolerance} }}\n"
        );
        Experiment::parse(&text, Path::new("e.yaml")).map_err(|error| error.to_string())
    };
    let about = |provider: &str| {
        let read = read(&format!("{{ type: probe, name: judge, provider: {provider} }}")).unwrap();
        let Some(Tolerance::Probe(probe)) = &read.method[0].tolerance else { panic!("{read:?}") };
        probe.about(&json!({"stdout": "${secret} costs $5"}), Some("vendor"))
    };
    let secret = Variables::new([("secret".to_owned(), json!("s3cret"))]);
    let asked = about("{ type: process, path: judge, arguments: { --strict: 1 } }");
    assert_eq!(asked.from.as_deref(), Some("vendor"));
    let Provider::Process(call) = asked.provider else { panic!("a process") };
    let Arguments::Map(map) = call.arguments else { panic!("a map") };
    assert_eq!(map.keys().collect::<Vec<_>>(), ["--strict", "value"]);
    assert_eq!(secret.fill(&map["value"]), json!({"stdout": "${secret} costs $5"}), "as it came");
    let Provider::Http(call) = about("{ type: http, url: \"http://judge/\" }").provider else {
        panic!("http")
    };
    let filled = secret.fill(&call.arguments.unwrap());
    assert_eq!(filled, json!({"value": {"stdout": "${secret} costs $5"}}));
    let refused = |tolerance: &str| read(tolerance).unwrap_err();
    insta::assert_snapshot!(refused("{ type: probe, name: j, provider: { type: process, path: j, arguments: [a] } }"), @"e.yaml:4:18: the `arguments` of a probe that is a tolerance are a map, into which the outcome goes as `value`");
    insta::assert_snapshot!(refused("{ type: probe, name: j, provider: { type: tcp, host: h, port: 1 } }"), @"e.yaml:4:18: a probe that is a tolerance has the provider `http` or `process`");
    insta::assert_snapshot!(refused("{ type: probe, name: j, provider: { type: process, pth: j } }"), @"e.yaml:4:18: unknown key `pth`; did you mean `path`?");
    insta::assert_snapshot!(refused("{ type: probe, provider: { type: process, path: j } }"), @"e.yaml:4:18: an activity needs `name`, by which its results are told apart");
    insta::assert_snapshot!(refused("{ type: all, of: [{ type: probe, name: j, provider: { type: process, path: j } }] }"), @"e.yaml:4:18: a tolerance of type probe belongs to a probe, as its outermost tolerance");
}

#[test]
fn a_member_of_the_target_that_is_not_there_is_an_error() {
    let with = |target: &str, url: &str, rest: &str| {
        let text = format!(
            "title: \"${{target.any}}\"
target: {target}
method:
  - name: look
    type: probe
    provider: {{ type: http, url: \"{url}\" }}
{rest}"
        );
        Experiment::parse(&text, Path::new("e.yaml")).err().map(|error| error.to_string())
    };
    let at = |url: &str| with("{ url: \"http://h\", data: /d }", url, "").unwrap_or_default();
    insta::assert_snapshot!(at("${target.urll}/x"), @"e.yaml:6:34: `${target.urll}` stands for nothing; did you mean `${target.url}`?");
    insta::assert_snapshot!(at("http://${target.process}/"), @"e.yaml:6:34: `${target.process}` stands for nothing; known are target.data, target.url");
    insta::assert_snapshot!(with("{}", "${target.url}", "").unwrap(), @"e.yaml:6:34: `${target.url}` stands for nothing; the experiment has no `target` section");
    for fine in ["${target.url}$${target.urll}", "${other}", "$target.urll", "${target.urll"] {
        assert_eq!(at(fine), "", "{fine}");
    }
    // Names of the file's own, and of its namespaces.
    let named = "{ namespaces: { shop: shop-1 } }";
    assert_eq!(with(named, "${target.namespaces.shop}", ""), None);
    assert_eq!(with("{}", "${target.x}", "configuration: { target.x: a }\n"), None);
    assert_eq!(with("{}", "${target.x}", "secrets: { s: { target.x: a } }\n"), None);
    // Deep inside, too.
    let tolerance = "    tolerance:
      type: probe
      name: judge
      provider: { type: process, path: judge, arguments: { of: [\"${target.urll}\"] } }
";
    let place = with("{ url: \"http://h\" }", "${target.url}", tolerance).unwrap();
    assert!(place.starts_with("e.yaml:10:"), "{place}");
    let workload = |name: &str| {
        let step = "requests: [{ url: \"http://h\", body: { a: \"${target.a} ${target.b}\" } }]";
        let workload = format!(
            "{{ users: 2, vary: {{ {name}: [1, 2] }}, prepare: [{{ url: \"http://h\", save: {{ target.b: $.id }} }}], {step} }}"
        );
        let load = format!(
            "  - {{ name: load, type: action, provider: {{ type: chaos, workload: {workload} }} }}\n"
        );
        with("{}", "http://h", &load)
    };
    assert_eq!(workload("target.a"), None);
    assert!(workload("a").unwrap().contains("${target.a}"));
}

#[test]
fn a_log_is_that_of_a_container_if_it_is_named_or_the_target() {
    let read = |target: &str, keys: &str| {
        let text = format!(
            "title: t\ntarget: {target}\nmethod:\n  - name: p\n    type: probe\n    provider: {{ type: log, \
             pattern: x, {keys} }}\n"
        );
        let read = Experiment::parse(&text, Path::new("e.yaml"));
        read.map_or_else(
            |error| error.to_string(),
            |read| match &read.method[0].provider {
                Provider::Log(LogCall {
                    source: LogSource::Container { name, socket }, ..
                }) => {
                    format!("{name} at {}", socket.display())
                }
                other => format!("{other:?}"),
            },
        )
    };
    assert_eq!(read("{}", "container: shop"), "shop at /var/run/docker.sock");
    assert_eq!(read("{ container: shop, socket: /s }", ""), "shop at /s");
    assert_eq!(read("{ container: shop }", "container: till, socket: /t"), "till at /t");
    assert!(read("{ container: shop }", "path: /log").contains("Path(\"/log\")"));
    for (keys, other) in [("path: /log", "path"), ("node: n, process: p", "container")] {
        let said = read("{}", &format!("container: shop, {keys}"));
        assert!(said.contains(&format!("`{other}` and")) && said.contains("exclude"), "{said}");
    }
    assert!(read("{ container: shop }", "unit: shop").contains("`unit` has no meaning"));
}
