//! What the tests with real traffic share: two namespaces joined by a veth pair, and tests in
//! processes of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

use chaos::experiment::units::Span;
use chaos::fault::NetworkFault;
use chaos::kernel::bpf::Mechanism;
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use chaos::plan::{Action, Rule, Selector};

/// Names of the two ends of the pair, in their namespaces.
pub(crate) const NEAR: &str = "near";
const FAR: &str = "far";

/// Says to a test that it is in a process of its own.
const ISOLATED: &str = "CHAOS_TEST_ISOLATED";

/// Runs a test in a process and with a state folder of its own, so that no test sees another's
/// runs. `name` is the test's full name.
pub(crate) fn isolated(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ISOLATED).is_some() {
        return test();
    }
    let state = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("CHAOS_STATE_DIR", state.path())
        .env(ISOLATED, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}");
}

/// Two namespaces joined by a veth pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) near: NetNs,
    pub(crate) far: NetNs,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let (near, far) = (NetNs::anonymous().unwrap(), NetNs::anonymous().unwrap());
        near.block_on(|| async {
            Netlink::open().unwrap().add_veth((NEAR, 2), (FAR, 3), &far).await.unwrap();
        })
        .unwrap();
        for (netns, device, last) in [(&near, NEAR, 1), (&far, FAR, 2)] {
            netns
                .block_on(|| async move {
                    let netlink = Netlink::open().unwrap();
                    let link = netlink.link(device).await.unwrap();
                    for address in [format!("10.77.0.{last}/24"), format!("fd77::{last}/64")] {
                        netlink.add_address(&link, address.parse().unwrap()).await.unwrap();
                    }
                    for device in ["lo", device] {
                        let link = netlink.link(device).await.unwrap();
                        netlink.set_up(&link).await.unwrap();
                    }
                })
                .unwrap();
        }
        near.block_on(|| Netlink::wait_running(&[NEAR], Duration::from_secs(5))).unwrap().unwrap();
        Self { near, far }
    }

    /// A fault of one rule at the near end.
    pub(crate) fn fault(&self, selector: Selector, action: Action) -> NetworkFault {
        NetworkFault {
            name: "test".into(),
            netns: self.near.clone(),
            rules: vec![Rule { name: "it".into(), selector, action }],
            lasts: Span::from_secs(60),
            seed: 1,
            mechanism: Mechanism::Auto,
            detours: chaos::fault::Detours::default(),
            ramp: Span::ZERO,
            trace_rate: 0,
        }
    }
}
