//! Many different delays through one device: a classful root with a netem leaf for each setting.
//!
//! A classifier steers a packet by writing the class of its setting into `skb->priority`; no filter
//! is needed on the qdisc. Packets that name no class pass at once.

use std::fmt;

use super::error::QdiscError;
use super::handle::Handle;
use super::not_restorable::NotRestorable;
use super::ops::{Applied, Place};
use super::restore::RestoreError;
use super::snapshot::RootQdisc;
use super::socket::TcSocket;
use super::spec::{ClassSpec, HtbClass, HtbQdisc, Netem, Prio, QdiscSpec};

/// What the root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Steering {
    /// htb with classes that never hold a packet: 4096 settings.
    Htb,
    /// prio: 15 settings, the first band is for packets that name none.
    Prio,
}

impl Steering {
    /// Settings it can hold at once.
    pub const fn capacity(self) -> usize {
        match self {
            // The handles of the leaves are the bound; more would only slow the root down.
            Self::Htb => 4096,
            Self::Prio => Prio::MAX_BANDS as usize - 1,
        }
    }
}

impl fmt::Display for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Htb => "htb",
            Self::Prio => "prio",
        })
    }
}

/// Why the tree could not be built, extended or taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The kernel refused, or did something else.
    #[error(transparent)]
    Qdisc(#[from] QdiscError),
    /// There is a setting too many.
    #[error("{steering} steers into {} settings at most", steering.capacity())]
    Full {
        /// What the root is.
        steering: Steering,
    },
    /// No setting has this class.
    #[error("no setting of this tree has the class {0}")]
    NoSuchClass(Handle),
    /// The device has a qdisc that somebody made.
    #[error("device #{device} already has a qdisc: {reason}")]
    NotOurs {
        /// Index of the device.
        device: u32,
        /// What stands against it.
        reason: NotRestorable,
    },
    /// What was there before did not come back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// A leaf of the tree.
#[derive(Debug, Clone, PartialEq)]
struct Leaf {
    class: Handle,
    handle: Handle,
    netem: Netem,
    users: usize,
}

/// A classful root on a detour device, with one netem leaf per distinct setting.
#[derive(Debug)]
pub struct DetourTree {
    device: u32,
    root: Handle,
    steering: Steering,
    before: RootQdisc,
    leaves: Vec<Leaf>,
}

impl DetourTree {
    /// Number of the root.
    const ROOT: u16 = 0xc4a0;
    /// Number of the first leaf.
    const FIRST_LEAF: u16 = 0xd000;

    /// Puts an empty tree at the root of `device`, which must not have a qdisc that somebody made.
    /// With `steering` `None`, htb where the kernel has it, else prio.
    pub fn install(
        tc: &mut TcSocket,
        device: u32,
        steering: Option<Steering>,
    ) -> Result<Self, TreeError> {
        let before = RootQdisc::snapshot(tc, device)?;
        if let Some(root) = before.root().filter(|root| !root.handle.is_unspecified()) {
            let reason = NotRestorable::Kind { kind: root.kind.clone(), handle: root.handle };
            return Err(TreeError::NotOurs { device, reason });
        }
        let root = Handle::qdisc(Self::ROOT);
        let steering = match steering {
            Some(steering) => {
                tc.add(Place::root(device, root), &root_spec(steering))?;
                steering
            }
            None => match tc.add(Place::root(device, root), &root_spec(Steering::Htb)) {
                Ok(_) => Steering::Htb,
                Err(error) if error.is_unsupported() => {
                    tc.add(Place::root(device, root), &root_spec(Steering::Prio))?;
                    Steering::Prio
                }
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self { device, root, steering, before, leaves: Vec::new() })
    }

    /// What the root is.
    pub fn steering(&self) -> Steering {
        self.steering
    }

    /// Index of the device.
    pub fn device(&self) -> u32 {
        self.device
    }

    /// The classes in use, each with its setting.
    pub fn settings(&self) -> impl Iterator<Item = (Handle, &Netem)> {
        self.leaves.iter().map(|leaf| (leaf.class, &leaf.netem))
    }

    /// The class for a setting: that of an equal setting, or a new one. Its
    /// [`to_u32`](Handle::to_u32) is the priority that steers a packet there. Each call needs a
    /// [`remove`](Self::remove).
    ///
    /// Settings with a seed are never shared, since every sharer would disturb the others' order.
    pub fn add(&mut self, tc: &mut TcSocket, netem: &Netem) -> Result<Applied, TreeError> {
        let device = self.device;
        let same = |leaf: &&mut Leaf| leaf.netem == *netem && netem.seed.is_none();
        if let Some(leaf) = self.leaves.iter_mut().find(same) {
            let place = Place { device, parent: leaf.class, handle: leaf.handle };
            // Written again: the read-back then tells this caller, too, what is unconfirmed.
            let applied = tc.change(place, &netem.clone().into())?;
            leaf.users += 1;
            return Ok(applied);
        }
        let minor = self.free_minor().ok_or(TreeError::Full { steering: self.steering })?;
        let class = Handle::new(Self::ROOT, minor);
        let handle = Handle::qdisc(Self::FIRST_LEAF + minor);
        if self.steering == Steering::Htb {
            let place = Place { device, parent: self.root, handle: class };
            tc.add_class(place, &ClassSpec::Htb(HtbClass::unlimited()))?;
        }
        let leaf = Place { device, parent: class, handle };
        // prio has a fifo in every band and htb in every class, without a handle of its own.
        match tc.replace(leaf, &netem.clone().into()) {
            Ok(applied) => {
                self.leaves.push(Leaf { class, handle, netem: netem.clone(), users: 1 });
                Ok(applied)
            }
            Err(error) => {
                // The class leads nowhere; nothing uses it yet.
                let _ = self.drop_leaf(tc, class, handle);
                Err(error.into())
            }
        }
    }

    /// Alters a setting in place, as a ramp does: packets that wait keep their time. All users of
    /// the class get it.
    pub fn change(
        &mut self,
        tc: &mut TcSocket,
        class: Handle,
        netem: &Netem,
    ) -> Result<Applied, TreeError> {
        let device = self.device;
        let leaf = self
            .leaves
            .iter_mut()
            .find(|leaf| leaf.class == class)
            .ok_or(TreeError::NoSuchClass(class))?;
        let place = Place { device, parent: leaf.class, handle: leaf.handle };
        let applied = tc.change(place, &netem.clone().into())?;
        leaf.netem = netem.clone();
        Ok(applied)
    }

    /// Gives a class back; with its last user the leaf goes, and the packets that wait in it.
    pub fn remove(&mut self, tc: &mut TcSocket, class: Handle) -> Result<(), TreeError> {
        let index = self
            .leaves
            .iter()
            .position(|leaf| leaf.class == class)
            .ok_or(TreeError::NoSuchClass(class))?;
        if self.leaves[index].users > 1 {
            self.leaves[index].users -= 1;
            return Ok(());
        }
        self.drop_leaf(tc, class, self.leaves[index].handle)?;
        self.leaves.remove(index);
        Ok(())
    }

    /// Takes the whole tree away and proves that the device is as before.
    pub fn uninstall(self, tc: &mut TcSocket) -> Result<(), TreeError> {
        Ok(self.before.restore(tc)?)
    }

    fn drop_leaf(
        &self,
        tc: &mut TcSocket,
        class: Handle,
        handle: Handle,
    ) -> Result<(), QdiscError> {
        let device = self.device;
        match self.steering {
            // The leaf goes with its class.
            Steering::Htb => tc.delete_class(Place { device, parent: self.root, handle: class }),
            Steering::Prio => tc.delete(Place { device, parent: class, handle }),
        }
    }

    fn free_minor(&self) -> Option<u16> {
        let first = match self.steering {
            Steering::Htb => 1,
            Steering::Prio => 2,
        };
        let taken: std::collections::BTreeSet<u16> =
            self.leaves.iter().map(|leaf| leaf.class.minor()).collect();
        (first..first + self.steering.capacity() as u16).find(|minor| !taken.contains(minor))
    }
}

fn root_spec(steering: Steering) -> QdiscSpec {
    match steering {
        Steering::Htb => QdiscSpec::Htb(HtbQdisc::default()),
        Steering::Prio => QdiscSpec::Prio(Prio::with_default_band(Prio::MAX_BANDS)),
    }
}
