//! A device that was made for a detour.

use serde::{Deserialize, Serialize};

use super::{Undo, UndoError, Undone};
use crate::fault::journal::NetnsRef;
use crate::kernel::netlink::{Netlink, NetlinkError};

/// A device that may have been made, and goes with its peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkUndo {
    /// Where it is.
    pub netns: NetnsRef,
    /// Its number: another device of this name is not ours.
    pub index: u32,
    /// Its name.
    pub name: String,
}

impl Undo for LinkUndo {
    fn describe(&self) -> String {
        format!("the detour device {}", self.name)
    }

    fn undo(&self) -> Result<Undone, UndoError> {
        // A namespace that is gone took its devices along.
        let Some(netns) = self.netns.find() else { return Ok(Undone::Nothing) };
        let undone = netns.block_on(|| async {
            let netlink = Netlink::open()?;
            let links = netlink.links().await?;
            let ours = links.iter().find(|one| one.index == self.index && one.name == self.name);
            let Some(ours) = ours else { return Ok(Undone::Nothing) };
            netlink.delete_link(ours).await?;
            Ok::<_, NetlinkError>(Undone::Restored(self.describe()))
        });
        undone.map_err(UndoError::new)?.map_err(UndoError::new)
    }
}
