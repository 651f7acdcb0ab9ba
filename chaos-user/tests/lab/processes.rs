//! Processes on nodes: what they see, and how they are kept.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use chaos::lab::{Lab, LabError};
use chaos::target::{Exit, ProcessError};
use nix::sys::signal::Signal;

use crate::support::{alone, eventually, options, spec, up};

const SECOND: Duration = Duration::from_secs(1);

/// Not a test of its own: the server that other tests run on a node, by running this file again.
#[test]
fn role_server() {
    if std::env::var_os("CHAOS_TEST_ROLE").is_none_or(|role| role != "server") {
        return;
    }
    println!("serving");
    let listener = TcpListener::bind("[::]:8080").unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

fn server(ready: &str, restart: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        "
name: served
networks: {{net: }}
nodes:
  server:
    networks: [net]
    processes:
      - name: web
        command: ['{}', --exact, 'processes::role_server', --nocapture]
        env: {{ CHAOS_TEST_ROLE: server }}
        ready: {ready}
        restart: {restart}
  client: {{networks: [net]}}
",
        program.display()
    )
}

#[test]
fn a_command_sees_its_node_and_nothing_of_the_host() {
    let _alone = alone();
    let (lab, folder) =
        up("{name: seen, networks: {net: }, nodes: {a: {networks: [net]}, b: {networks: [net]}}}");
    let run = |command: &[&str]| {
        let output = lab.exec("a", command, 5 * SECOND).unwrap();
        assert_eq!(output.exit, Exit::Code(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["getent", "ahosts", "b"]).contains("10.77.1.2"));
    assert!(run(&["getent", "ahosts", "b.net"]).contains("fd77:1::2"));
    assert!(run(&["getent", "ahosts", "localhost"]).contains("::1"));
    assert_eq!(run(&["ls", "/sys/class/net"]), "eth0\nlo\n");
    let processes = run(&["ls", "/proc"]);
    let processes = processes.lines().filter(|name| name.parse::<u32>().is_ok()).count();
    assert_eq!(processes, 2, "the first process and the command itself");
    assert!(run(&["ls", "/sys/fs/cgroup"]).lines().count() > 0);
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    assert!(!hosts.contains("10.77.1.2"), "the host's own file is untouched");
    drop(lab);
    assert!(!folder.path().join("lab").exists());
}

#[test]
fn exec_tells_exit_codes_signals_and_time_outs() {
    let _alone = alone();
    let (lab, _folder) = up("{name: e, nodes: {a: }}");
    let run = |script: &str, within| lab.exec("a", &["sh", "-c", script], within).unwrap();
    assert_eq!(run("exit 7", SECOND * 5).exit, Exit::Code(7));
    assert_eq!(run("kill -TERM $$", SECOND * 5).exit.shell_code(), 143);
    let slow = run("echo begun; sleep 60", SECOND);
    assert!(slow.timed_out);
    assert_eq!(slow.stdout, b"begun\n");
    let daemon = run("setsid sleep 60 & echo left", SECOND * 5);
    assert_eq!((daemon.exit, daemon.stdout.as_slice()), (Exit::Code(0), &b"left\n"[..]));
    let error = lab.exec("a", &["no-such-program-here"], SECOND).unwrap_err().to_string();
    assert!(error.contains("cannot find the program"), "{error}");
    let error = lab.exec("aa", &["true"], SECOND).unwrap_err().to_string();
    assert_eq!(error, "lab \"e\" has no node \"aa\"; did you mean \"a\"?");
}

#[test]
fn a_process_is_ready_when_it_answers_over_http_or_tcp() {
    let _alone = alone();
    for ready in ["{ http: 'http://server:8080/healthz' }", "{ tcp: 'server:8080', within: 5s }"] {
        let (lab, _folder) = up(&server(ready, "never"));
        let web = lab.node("server").unwrap().process("web").unwrap();
        assert!(web.alive());
        let log = std::fs::read_to_string(&web.command().log).unwrap();
        assert!(log.contains("serving"), "{log}");
        web.restart(SECOND).unwrap();
        lab.await_ready("server", "web").unwrap();
        assert_eq!(web.restarts(), 1);
    }
}

#[test]
fn a_crash_is_mended_by_policy_and_a_stop_is_respected() {
    let _alone = alone();
    let (lab, _folder) = up(&server("{ tcp: 'server:8080' }", "on-failure"));
    let web = lab.node("server").unwrap().process("web").unwrap();
    let first = web.pid().unwrap();
    web.kill().unwrap();
    eventually("the process is back", || web.pid().is_some_and(|pid| pid != first));
    lab.await_ready("server", "web").unwrap();
    assert_eq!((web.restarts(), web.last_exit()), (1, Some(Exit::Signal(9))));

    web.freeze().unwrap();
    let stat = format!("/proc/{}/stat", web.pid().unwrap());
    eventually("it is frozen", || std::fs::read_to_string(&stat).unwrap().contains(") T "));
    web.thaw().unwrap();
    eventually("it goes on", || !std::fs::read_to_string(&stat).unwrap().contains(") T "));

    web.freeze().unwrap();
    let exit = web.stop(5 * SECOND).unwrap();
    assert_eq!(exit, Some(Exit::Signal(15)), "a frozen process still gets its SIGTERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!web.alive(), "stopped means stopped");
    assert!(matches!(web.signal(Signal::SIGHUP), Err(ProcessError::NotRunning { .. })));
    web.start_again().unwrap();
    lab.await_ready("server", "web").unwrap();
}

#[test]
fn a_process_that_ignores_sigterm_is_killed() {
    let _alone = alone();
    let (lab, _folder) = up(
        "{name: s, nodes: {a: {processes: [{name: p, command: [sh, -c, 'trap \"\" TERM; echo deaf; while :; do sleep 1; done']}]}}}",
    );
    let process = lab.node("a").unwrap().process("p").unwrap();
    eventually("the trap is set", || {
        std::fs::read_to_string(&process.command().log).unwrap().contains("deaf")
    });
    assert_eq!(process.stop(Duration::from_millis(200)).unwrap(), Some(Exit::Signal(9)));
}

fn refuse(text: &str) -> LabError {
    let folder = tempfile::tempdir().unwrap();
    let error = Lab::up(&spec(text), options(&folder)).unwrap_err();
    assert!(!folder.path().join("lab").exists());
    error
}

#[test]
fn a_process_that_fails_to_come_up_says_why() {
    let _alone = alone();
    let error = refuse(
        "{name: d, nodes: {a: {processes: [{name: p, command: [sh, -c, 'echo no disk >&2; exit 3'], ready: {tcp: 'a:1'}}]}}}",
    );
    let text = error.to_string();
    assert!(matches!(error, LabError::Died { exit: Exit::Code(3), .. }), "{text}");
    assert!(text.contains("no disk"), "{text}");

    let error = refuse(
        "{name: d, nodes: {a: {processes: [{name: p, command: [sleep, '60'], ready: {tcp: 'localhost:1', within: 300ms}}]}}}",
    );
    let text = error.to_string();
    assert!(matches!(error, LabError::NotReady { .. }), "{text}");
    assert!(text.contains("within 300ms: connecting to ::1 port 1 failed"), "{text}");

    let error =
        refuse("{name: d, nodes: {a: {processes: [{name: p, command: [no-such-program]}]}}}");
    assert!(
        error.to_string().starts_with("cannot find the program \"no-such-program\"; looked in")
    );
}

#[test]
fn an_empty_file_is_no_program_but_says_so() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain"), "text").unwrap();
    let mut options = options(&folder);
    options.base = folder.path().into();
    let lab = spec("{name: d, nodes: {a: {processes: [{name: p, command: [./plain]}]}}}");
    let error = Lab::up(&lab, options).unwrap_err().to_string();
    assert!(error.ends_with("plain is not an executable file"), "{error}");
}
