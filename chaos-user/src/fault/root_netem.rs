//! netem for a whole device, as `tc qdisc add dev lo root netem delay 500ms` puts it there, except
//! that what was there comes back.
//!
//! [`RootNetem::plan`] looks and refuses; [`RootNetem::undo`] goes to the journal;
//! [`RootNetem::apply`] replaces the root in one step and reads it back; [`ActiveRootNetem::heal`] (or
//! [`RootNetemUndo::heal`] in a later process) puts back what was there and compares dumps.
//!
//! It hits every packet that leaves the device, chosen by nobody, and no kernel ends it at a
//! deadline: unlike faults by flow it depends on the journal alone if its process dies. A device has
//! one at most, so two of them cannot overwrite each other.

use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::kernel::netlink::qdisc::{
    Applied, Counters, Handle, InvalidQdisc, Netem, NotRestorable, Place, QdiscError, QdiscSpec,
    Restore, RestoreError, RootQdisc, TcSocket, Unconfirmed, Write,
};
use crate::kernel::netns::NetNsError;

/// Why a whole-device netem was not applied, or not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootNetemError {
    /// There is no such device in this namespace.
    #[error("there is no device #{index} in this network namespace: {}", errno.desc())]
    NoDevice {
        /// Its index.
        index: u32,
        /// What the kernel says.
        errno: Errno,
    },
    /// The settings make no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidQdisc),
    /// A run of this program is at work there.
    #[error(
        "`{device}` already has a whole-device netem of this program ({handle}); end that run, or \
         undo it with `chaos heal` if it is dead"
    )]
    Occupied {
        /// The device's name.
        device: String,
        /// The handle of that netem.
        handle: Handle,
    },
    /// What is there could not be put back.
    #[error(
        "the root qdisc of `{device}` could not be put back afterwards: {reason}; choose flows with \
         a selector instead, which leaves it alone, or lose it with --force"
    )]
    NotRestorable {
        /// The device's name.
        device: String,
        /// Why.
        reason: NotRestorable,
    },
    /// The kernel refused, or did something else; the device is as before.
    #[error("{}{}", .0, alternative(.0))]
    Qdisc(#[from] QdiscError),
    /// Applying failed, and what was there did not come back either.
    #[error("{cause}; and after that {restore}")]
    Stuck {
        /// The first failure.
        cause: QdiscError,
        /// The second one.
        restore: Box<RootNetemError>,
    },
    /// Somebody else put another qdisc there meanwhile; it was left alone.
    #[error(
        "the root qdisc of `{device}` is no longer ours but {kind} {handle}, put there by somebody \
         else; it was left alone, and what was there before is lost to it"
    )]
    Replaced {
        /// The device's name.
        device: String,
        /// What is there now.
        kind: String,
        /// Its handle.
        handle: Handle,
    },
    /// The device's namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NetNsError),
    /// What was there did not come back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl RootNetemError {
    /// The exit code that fits.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDevice { .. } | Self::Invalid(_) | Self::Qdisc(QdiscError::Invalid(_)) => {
                Exit::Usage
            }
            Self::Occupied { .. }
            | Self::NotRestorable { .. }
            | Self::Qdisc(_)
            | Self::Namespace(_) => Exit::HostUnable,
            Self::Stuck { .. } | Self::Replaced { .. } | Self::Restore(_) => Exit::NotHealed,
        }
    }
}

/// What does without netem.
fn alternative(error: &QdiscError) -> &'static str {
    if error.is_unsupported() { "; `chaos inject delay` works on every kernel" } else { "" }
}

/// How a device is left after healing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
#[non_exhaustive]
pub enum RootNetemHealed {
    /// The dump is byte for byte the one from before.
    AsBefore,
    /// The device is gone, and its qdiscs with it.
    DeviceGone,
    /// It was forced on a device whose qdisc cannot be put back; this is what is different.
    AsFarAsPossible {
        /// What is different.
        difference: String,
    },
}

/// What is needed to put back what was there. It has to be on disk before [`RootNetem::apply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootNetemUndo {
    /// The device's name.
    pub device: String,
    /// The qdiscs from before.
    pub before: RootQdisc,
    /// The handle of our netem.
    pub ours: Handle,
    /// Whether it was forced although `before` cannot be put back exactly.
    pub forced: bool,
}

/// A whole-device netem that is possible, but not yet there.
#[derive(Debug, Clone, PartialEq)]
pub struct RootNetem {
    netem: Netem,
    undo: RootNetemUndo,
    restore: Option<Restore>,
}

/// First of the handles that [`RootQdisc::free_handle`] gives, and how many of them mean us.
const OURS: std::ops::Range<u16> = 0xc4a0..0xc4b0;

impl RootNetem {
    /// Looks at the device and tells whether netem can be put at its root and taken away again.
    /// Touches nothing. With `force`, a root that cannot be put back is accepted as lost.
    pub fn plan(
        tc: &mut TcSocket,
        device: u32,
        netem: Netem,
        force: bool,
    ) -> Result<Self, RootNetemError> {
        netem.to_wire(Write::Fresh)?;
        let name = device_name(device)
            .map_err(|errno| RootNetemError::NoDevice { index: device, errno })?;
        let before = RootQdisc::snapshot(tc, device)?;
        if let Some(root) = before.root()
            && root.kind == "netem"
            && OURS.contains(&root.handle.major())
        {
            return Err(RootNetemError::Occupied { device: name, handle: root.handle });
        }
        let restore = match before.restorable() {
            Ok(restore) => Some(restore),
            Err(_) if force => None,
            Err(reason) => return Err(RootNetemError::NotRestorable { device: name, reason }),
        };
        let ours = before.free_handle();
        let forced = restore.is_none();
        Ok(Self { netem, undo: RootNetemUndo { device: name, before, ours, forced }, restore })
    }

    /// What has to be on disk before [`Self::apply`].
    pub fn undo(&self) -> &RootNetemUndo {
        &self.undo
    }

    /// How the qdiscs from before will come back; `None` if they will not (`force`).
    pub fn restore(&self) -> Option<Restore> {
        self.restore
    }

    /// What to know about this fault, as sentences for the dry run and the report.
    pub fn notes(&self) -> Vec<String> {
        let Self { netem, undo, restore } = self;
        let mut notes = Vec::new();
        let root = undo.before.root().map_or("nothing", |root| root.kind.as_str());
        let device = &undo.device;
        notes.push(match restore {
            Some(Restore::ByDeleting) => {
                format!("`{device}` has its default ({root}), which comes back by itself")
            }
            Some(_) => format!("`{device}` has {root}, which is made again from the same bytes"),
            None => format!("`{device}` has {root}, which is LOST (--force)"),
        });
        notes.push(format!("packets that wait in `{device}` at either moment are dropped"));
        if root == "mq" {
            notes.push("all queues of the device share one lock meanwhile".to_owned());
        }
        if device == "lo" {
            notes.push("a round trip over `lo` is delayed twice".to_owned());
        }
        if !netem.jitter.is_zero() && netem.rate.is_none() {
            notes.push("jitter without a rate also reorders packets".to_owned());
        }
        if !netem.loss.is_none() {
            notes.push("a loss takes a whole burst of segments (GSO) at once".to_owned());
        }
        notes
    }

    /// Puts netem at the root in one step and reads it back. If it is not what was asked for, what
    /// was there is put back before the error is returned.
    pub fn apply(self, tc: &mut TcSocket) -> Result<ActiveRootNetem, RootNetemError> {
        let Self { netem, undo, .. } = self;
        let place = Place::root(undo.before.device, undo.ours);
        match tc.replace(place, &QdiscSpec::from(netem.clone())) {
            Ok(Applied { unconfirmed, .. }) => Ok(ActiveRootNetem { netem, undo, unconfirmed }),
            Err(cause) => match undo.heal(tc) {
                Ok(_) => Err(cause.into()),
                Err(restore) => Err(RootNetemError::Stuck { cause, restore: Box::new(restore) }),
            },
        }
    }
}

/// A whole-device netem that is in force.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it stays in force until it is healed"]
pub struct ActiveRootNetem {
    netem: Netem,
    undo: RootNetemUndo,
    unconfirmed: Vec<Unconfirmed>,
}

impl ActiveRootNetem {
    /// What is in force.
    pub fn netem(&self) -> &Netem {
        &self.netem
    }

    /// What puts back what was there.
    pub fn undo(&self) -> &RootNetemUndo {
        &self.undo
    }

    /// Settings that the kernel ignored or does not tell.
    pub fn unconfirmed(&self) -> &[Unconfirmed] {
        &self.unconfirmed
    }

    /// Alters the settings in place, as a ramp does; packets that wait keep their time.
    pub fn change(&mut self, tc: &mut TcSocket, netem: Netem) -> Result<(), RootNetemError> {
        let place = Place::root(self.undo.before.device, self.undo.ours);
        let applied = tc.change(place, &QdiscSpec::from(netem.clone()))?;
        self.unconfirmed = applied.unconfirmed;
        self.netem = netem;
        Ok(())
    }

    /// What went through it, was dropped by it, or waits in it: the evidence that it acted. `None`
    /// if it is not there any more.
    pub fn counters(&self, tc: &mut TcSocket) -> Result<Option<Counters>, RootNetemError> {
        let qdiscs = tc.qdiscs(self.undo.before.device)?;
        Ok(qdiscs
            .into_iter()
            .find(|record| record.handle == self.undo.ours)
            .map(|record| record.counters))
    }

    /// Puts back what was there and compares.
    pub fn heal(self, tc: &mut TcSocket) -> Result<RootNetemHealed, RootNetemError> {
        self.undo.heal(tc)
    }
}

impl RootNetemUndo {
    /// Puts back what was there and compares, in the namespace of the device. Does nothing if it is
    /// back already; leaves alone what somebody else put there meanwhile.
    pub fn heal(&self, tc: &mut TcSocket) -> Result<RootNetemHealed, RootNetemError> {
        let Self { device, before, ours, forced } = self;
        // Another device may have the index by now.
        if device_name(before.device).ok().as_ref() != Some(device) {
            return Ok(RootNetemHealed::DeviceGone);
        }
        let now = RootQdisc::snapshot(tc, before.device)?;
        let before_root = before.root().map_or(Handle::UNSPEC, |root| root.handle);
        if let Some(root) = now.root()
            && ![*ours, before_root, Handle::UNSPEC].contains(&root.handle)
        {
            return Err(RootNetemError::Replaced {
                device: device.clone(),
                kind: root.kind.clone(),
                handle: root.handle,
            });
        }
        match before.restore(tc) {
            Ok(()) => Ok(RootNetemHealed::AsBefore),
            Err(error) if *forced => {
                // What was lost by --force cannot be made again: at least ours goes.
                let now = RootQdisc::snapshot(tc, before.device)?;
                if now.root().is_some_and(|root| root.handle == *ours) {
                    tc.delete(Place::root(before.device, *ours))?;
                }
                Ok(RootNetemHealed::AsFarAsPossible { difference: error.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn device_name(index: u32) -> Result<String, Errno> {
    let name = if_indextoname(index)?;
    // nix takes the null pointer of an unknown index for an empty name.
    if name.is_empty() {
        return Err(Errno::ENODEV);
    }
    Ok(name.to_string_lossy().into_owned())
}
