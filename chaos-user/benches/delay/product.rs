//! The product's rules in force on a link.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};

use chaos::experiment::units::{Direction, PortRange, Protocol, Span};
use chaos::fault::{Active, Backend, Detours, NetworkFault, Session};
use chaos::host;
use chaos::kernel::bpf::Mechanism;
use chaos::plan::{Action, Detour, Impairment, Loss, Rule, Selector};

use crate::link::{FAR_END, Link, NEAR};

/// Those that this kernel has.
pub(crate) fn backends() -> Vec<Backend> {
    let netem = host::netem().unwrap().is_ok();
    netem.then_some(Backend::Netem).into_iter().chain([Backend::DelayLine]).collect()
}

/// Holds the packets to each port as is asked for it.
pub(crate) fn hold(
    link: &Link,
    backend: Backend,
    protocol: Protocol,
    ports: &[(u16, Impairment)],
) -> Active {
    let action = Action::Detour(Detour { share: Loss::Always, what: "hold".into() });
    let rules = ports.iter().map(|(port, _)| rule(*port, protocol, action.clone())).collect();
    let held = ports.iter().map(|(_, impairment)| impairment.clone()).enumerate().collect();
    start(link, rules, Detours { backend, rules: held, ..Detours::default() })
}

/// Loses packets to each port.
pub(crate) fn lose(link: &Link, ports: &[(u16, Loss)]) -> Active {
    let rules =
        ports.iter().map(|(port, loss)| rule(*port, Protocol::UDP, Action::Drop(*loss))).collect();
    start(link, rules, Detours::default())
}

fn rule(port: u16, protocol: Protocol, action: Action) -> Rule {
    Rule {
        name: format!("port {port}"),
        selector: Selector {
            direction: Direction::To,
            devices: vec![NEAR.into()],
            protocol: Some(protocol),
            remote_ports: vec![PortRange::new(port, port).unwrap()],
            ..Selector::default()
        },
        action,
    }
}

fn start(link: &Link, rules: Vec<Rule>, detours: Detours) -> Active {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let fault = NetworkFault {
        name: "bench".into(),
        netns: link.near.clone(),
        rules,
        lasts: Span::from_secs(1800),
        seed: 1,
        mechanism: Mechanism::Auto,
        detours,
        ramp: Span::ZERO,
        trace_rate: 0,
    };
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    Session::start(&format!("bench-{}-{number}", std::process::id()), &[fault]).unwrap()
}

/// A sender that is connected to a receiver across the link.
pub(crate) fn sockets(link: &Link, port: u16) -> (UdpSocket, UdpSocket) {
    let receiver = link.far.run(|| UdpSocket::bind((FAR_END, port)).unwrap()).unwrap();
    let sender = link.near.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    sender.connect((FAR_END, port)).unwrap();
    (sender, receiver)
}
