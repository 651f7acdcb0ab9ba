//! Other processes that tests need: this very program, started again with a role.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use chaos::experiment::units::{Direction, Span};
use chaos::fault::{NetworkFault, Session};
use chaos::kernel::bpf::Mechanism;
use chaos::kernel::netns::NetNs;
use chaos::plan::{Action, Loss, Rule};

use crate::net::{ip, received, to_port};

const ROLE: &str = "CHAOS_TEST_ROLE";

/// A child that obeys lines and answers in lines. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts a role inside a namespace.
    pub(crate) fn start(role: &str, netns: &NetNs) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["roles::play", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = netns.run(|| command.spawn()).unwrap().unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Gives an order and returns the answer to it.
    pub(crate) fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut line = String::new();
        // The test runner writes lines of its own around.
        while self.answers.read_line(&mut line).unwrap() > 0 {
            if let Some(at) = line.find("ANSWER ") {
                return line[at + 7..].trim().to_owned();
            }
            line.clear();
        }
        panic!("the helper ended");
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what a helper does.
#[test]
fn play() {
    match std::env::var(ROLE).as_deref() {
        Ok("sender") => sender(),
        Ok("holder") => holder(),
        _ => {}
    }
}

fn orders() -> impl Iterator<Item = Vec<String>> {
    std::io::stdin()
        .lines()
        .map_while(Result::ok)
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
}

fn answer(text: impl std::fmt::Display) {
    println!("ANSWER {text}");
}

/// `bind ADDRESS`, `send TO COUNT`, `receive MOST`, on one socket.
fn sender() {
    let mut socket: Option<UdpSocket> = None;
    for order in orders() {
        let words: Vec<&str> = order.iter().map(String::as_str).collect();
        match (words.as_slice(), &socket) {
            (["bind", address], _) => {
                let bound = UdpSocket::bind((ip(address), 0)).unwrap();
                answer(bound.local_addr().unwrap());
                socket = Some(bound);
            }
            (["send", to, count], Some(socket)) => {
                for _ in 0..count.parse().unwrap() {
                    socket.send_to(b"from a helper", to).unwrap();
                }
                answer("sent");
            }
            (["receive", most], Some(socket)) => answer(received(socket, most.parse().unwrap())),
            other => panic!("no such order: {other:?}"),
        }
    }
}

/// `PORT MECHANISM`: drops what goes to the port, for a minute, in the namespace it is in.
fn holder() {
    let mut held = Vec::new();
    for order in orders() {
        let mechanism = match order[1].as_str() {
            "clsact" => Mechanism::Clsact,
            _ => Mechanism::Auto,
        };
        let selector = to_port(Direction::To, order[0].parse().unwrap());
        let fault = NetworkFault {
            name: "held".into(),
            netns: NetNs::of_this_process().unwrap(),
            rules: vec![Rule { name: "it".into(), selector, action: Action::Drop(Loss::Always) }],
            lasts: Span::from_secs(60),
            seed: 1,
            mechanism,
            detours: chaos::fault::Detours::default(),
            ramp: Span::ZERO,
            trace_rate: 0,
        };
        let active = Session::start("held", &[fault]).unwrap();
        answer(active.attached().next().unwrap().mechanism.clone());
        held.push(active);
    }
}
