//! A root qdisc that was replaced by netem.

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::fault::RootNetemHealed;
use crate::fault::journal::NetnsRef;
use crate::fault::root_netem::{RootNetemError, RootNetemUndo};
use crate::kernel::netlink::qdisc::TcSocket;

/// A device's root qdisc, and where the device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootNetemRecord {
    /// Where the device is.
    pub netns: NetnsRef,
    /// What puts back what was there.
    pub undo: Box<RootNetemUndo>,
}

impl Undo for RootNetemRecord {
    fn describe(&self) -> String {
        format!("the root qdisc of {}", self.undo.device)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        // A namespace that is gone took its qdiscs along.
        let Some(netns) = self.netns.find() else { return Ok(Undone::Nothing) };
        let heal = || self.undo.heal(&mut TcSocket::open()?);
        let healed = netns.run(heal).map_err(RootNetemError::from).and_then(|healed| healed);
        let device = &self.undo.device;
        Ok(match healed.map_err(UndoError::new)? {
            RootNetemHealed::AsBefore => Undone::Restored(format!("root netem on {device}")),
            RootNetemHealed::AsFarAsPossible { difference } => {
                Undone::Restored(format!("root netem on {device} (forced: {difference})"))
            }
            RootNetemHealed::DeviceGone => Undone::Nothing,
        })
    }
}
