//! Making a tree of qdiscs again where it can do no harm: on the loopback of a new network namespace.

use nix::sched::{CloneFlags, unshare};

use super::error::QdiscError;
use super::handle::Handle;
use super::not_restorable::NotRestorable;
use super::restore::difference;
use super::snapshot::{RootQdisc, StoredQdisc};
use super::socket::TcSocket;

/// Index of the loopback in every namespace.
const LOOPBACK: u32 = 1;

/// Makes `snapshot` on a loopback of its own and compares the dumps. The namespace goes away with
/// the thread.
pub(super) fn rehearse(snapshot: &RootQdisc) -> Result<(), NotRestorable> {
    let parts = parts(snapshot);
    let rehearsed = std::thread::scope(|scope| {
        scope
            .spawn(move || -> Result<(), String> {
                unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| format!("there was no network namespace for it: {errno}"))?;
                let mut tc = TcSocket::open().map_err(|error| error.to_string())?;
                parts.iter().try_for_each(|part| rehearse_one(&mut tc, part))
            })
            .join()
    });
    match rehearsed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(what)) => Err(NotRestorable::Rehearsal { what }),
        Err(_) => Err(NotRestorable::Rehearsal { what: "it broke off".to_owned() }),
    }
}

fn rehearse_one(tc: &mut TcSocket, part: &RootQdisc) -> Result<(), String> {
    let refused = |error: QdiscError| format!("the kernel refused: {error}");
    part.put_back(tc).map_err(refused)?;
    let got = RootQdisc::snapshot(tc, LOOPBACK).map_err(refused)?;
    if got.qdiscs == part.qdiscs && got.classes == part.classes {
        Ok(())
    } else {
        Err(format!("it came out different: {}", difference(part, &got)))
    }
}

/// What can be made on a loopback. mq needs a device with many queues, and is nothing but a place
/// for one qdisc per queue, so each of those is rehearsed by itself.
fn parts(snapshot: &RootQdisc) -> Vec<RootQdisc> {
    let whole = RootQdisc { device: LOOPBACK, filters: 0, ..snapshot.clone() };
    let Some(mq) = whole.root().filter(|root| root.kind == "mq").cloned() else {
        return vec![whole];
    };
    let below_mq = |qdisc: &&StoredQdisc| {
        qdisc.parent.major() == mq.handle.major() && !qdisc.handle.is_unspecified()
    };
    let leaves = whole.qdiscs.iter().filter(|qdisc| qdisc.parent != Handle::ROOT).filter(below_mq);
    leaves
        .map(|leaf| {
            let major = leaf.handle.major();
            let belongs = |handle: Handle| handle.major() == major;
            let root = StoredQdisc { parent: Handle::ROOT, ..leaf.clone() };
            let below = whole.qdiscs.iter().filter(|qdisc| belongs(qdisc.parent)).cloned();
            RootQdisc {
                qdiscs: std::iter::once(root).chain(below).collect(),
                classes: whole.classes.iter().filter(|c| belongs(c.handle)).cloned().collect(),
                ..whole.clone()
            }
        })
        .collect()
}
