//! A namespace with a veth, and what the tests ask of it.

use chaos::kernel::netlink::qdisc::{Handle, Netem, Place, Prio, QdiscSpec, TcSocket};
use chaos::kernel::netns::NetNs;
use rtnetlink::{LinkUnspec, LinkVeth};

/// Index of the loopback in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// A namespace with a veth of which both ends are up, and the loopback too.
pub(crate) struct Bench;

impl Bench {
    /// Runs `work` inside, with the index of one end of the veth. Everything goes away with the
    /// namespace, also if `work` panics.
    pub(crate) fn run(work: impl FnOnce(&mut TcSocket, u32) + Send) {
        let ns = NetNs::anonymous().expect("a network namespace (these tests need root)");
        ns.block_on(|| async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            let connection = tokio::spawn(connection);
            handle.link().add(LinkVeth::new("v0", "v1").build()).execute().await.unwrap();
            for name in ["lo", "v0", "v1"] {
                let up = LinkUnspec::new_with_name(name).up().build();
                handle.link().set(up).execute().await.unwrap();
            }
            connection.abort();
        })
        .unwrap();
        ns.run(|| {
            let device = nix::net::if_::if_nametoindex("v0").unwrap();
            work(&mut TcSocket::open().unwrap(), device);
        })
        .unwrap();
    }
}

/// Whether the kernel has this kind of qdisc: tried on the loopback of the namespace.
pub(crate) fn has(tc: &mut TcSocket, kind: &str) -> bool {
    let spec = match kind {
        "netem" => QdiscSpec::from(Netem::default()),
        "prio" => QdiscSpec::Prio(Prio::with_default_band(2)),
        other => panic!("no spec for {other}"),
    };
    let place = Place::root(LOOPBACK, Handle::qdisc(0xfff0));
    match tc.add(place, &spec) {
        Ok(_) => {
            tc.delete(place).unwrap();
            true
        }
        Err(error) if error.is_unsupported() => false,
        Err(error) => panic!("{error}"),
    }
}

/// Tells the runner that `test` could not run for want of `feature`.
pub(crate) fn skip(test: &str, feature: &str) {
    println!("CHAOS-SKIP {test} {feature}");
}
