//! Add, replace, change and delete, each read back.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHeader, TcMessage};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::codec::TcQdiscNetem;
use super::compare::{Mismatch, ReadBack, Unconfirmed};
use super::error::{Operation, QdiscError, Target};
use super::handle::Handle;
use super::record::TcRecord;
use super::socket::{Listing, TcSocket};
use super::spec::{ClassSpec, QdiscSpec, Write};

const TCA_OPTIONS: u16 = 2;

/// Where a qdisc or a class is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Index of the device.
    pub device: u32,
    /// Where it hangs: [`Handle::ROOT`], a class, or for a class its qdisc or parent class.
    pub parent: Handle,
    /// Its own handle; unspecified to let the kernel choose.
    pub handle: Handle,
}

impl Place {
    /// At the root of `device`.
    pub const fn root(device: u32, handle: Handle) -> Self {
        Self { device, parent: Handle::ROOT, handle }
    }

    /// Where clsact goes on `device`.
    pub const fn clsact(device: u32) -> Self {
        Self { device, parent: Handle::INGRESS_PARENT, handle: Handle::INGRESS }
    }

    fn target(self, object: &'static str, kind: &str) -> Target {
        let Self { device, parent, handle } = self;
        Target { object, kind: kind.to_owned(), device, parent, handle }
    }
}

/// Something that was written and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Where it is, with the handle it has got.
    pub place: Place,
    /// Settings that the dump does not confirm.
    pub unconfirmed: Vec<Unconfirmed>,
}

impl TcSocket {
    /// Adds a qdisc where the kernel has only its own default. `tc qdisc add`.
    pub fn add(&mut self, place: Place, spec: &QdiscSpec) -> Result<Applied, QdiscError> {
        self.write(Operation::Add, place, spec)
    }

    /// Puts a new qdisc in the place of whatever is there, in one step: no packet meets the kernel's
    /// default in between, but what waits in the old one is dropped. `tc qdisc replace`.
    ///
    /// If a qdisc with the same handle is there already, the kernel alters that one instead (or
    /// refuses if it is of another kind); all attributes are sent, so the outcome is the same.
    pub fn replace(&mut self, place: Place, spec: &QdiscSpec) -> Result<Applied, QdiscError> {
        self.write(Operation::Replace, place, spec)
    }

    /// Alters a qdisc that is there, and keeps the packets that wait. `tc qdisc change`.
    pub fn change(&mut self, place: Place, spec: &QdiscSpec) -> Result<Applied, QdiscError> {
        self.write(Operation::Change, place, spec)
    }

    /// Takes a qdisc away; the kernel puts its default there. `tc qdisc del`.
    pub fn delete(&mut self, place: Place) -> Result<(), QdiscError> {
        let message = RouteNetlinkMessage::DelQueueDiscipline(message(place, None, None));
        self.request(Operation::Delete, &place.target("qdisc", ""), message, 0)
    }

    /// Every qdisc of a device (0: of every device), except those the kernel hides. `tc qdisc show`.
    pub fn qdiscs(&mut self, device: u32) -> Result<Vec<TcRecord>, QdiscError> {
        self.list(Listing::Qdiscs, device, Handle::UNSPEC)
    }

    /// Every class of a device. `tc class show`.
    pub fn classes(&mut self, device: u32) -> Result<Vec<TcRecord>, QdiscError> {
        self.list(Listing::Classes, device, Handle::UNSPEC)
    }

    /// Every filter that hangs on `parent`. `tc filter show`.
    pub fn filters(&mut self, device: u32, parent: Handle) -> Result<Vec<TcRecord>, QdiscError> {
        self.list(Listing::Filters, device, parent)
    }

    /// Adds a class. `tc class add`.
    pub fn add_class(&mut self, place: Place, spec: &ClassSpec) -> Result<Applied, QdiscError> {
        self.write_class(Operation::Add, place, spec)
    }

    /// Alters a class that is there. `tc class change`.
    pub fn change_class(&mut self, place: Place, spec: &ClassSpec) -> Result<Applied, QdiscError> {
        self.write_class(Operation::Change, place, spec)
    }

    /// Takes a class away, with its leaf. `tc class del`.
    pub fn delete_class(&mut self, place: Place) -> Result<(), QdiscError> {
        let message = RouteNetlinkMessage::DelTrafficClass(message(place, None, None));
        self.request(Operation::Delete, &place.target("class", ""), message, 0)
    }

    fn list(
        &mut self,
        listing: Listing,
        device: u32,
        parent: Handle,
    ) -> Result<Vec<TcRecord>, QdiscError> {
        let object = match listing {
            Listing::Qdiscs => "qdisc",
            Listing::Classes => "class",
            Listing::Filters => "filter",
        };
        let place = Place { device, parent, handle: Handle::UNSPEC };
        self.dump(listing, &place.target(object, ""))
    }

    fn write(
        &mut self,
        operation: Operation,
        place: Place,
        spec: &QdiscSpec,
    ) -> Result<Applied, QdiscError> {
        // A replace may meet a qdisc of the same handle, which it then only changes.
        let write = if operation == Operation::Add { Write::Fresh } else { Write::Change };
        let options = spec.options(write)?;
        self.write_qdisc(operation, place, spec.kind(), options)?;
        let dump = self.qdiscs(place.device)?;
        confirm(&place.target("qdisc", spec.kind()), &dump, |options| spec.compare(options))
    }

    /// Sends a qdisc as it is, without a comparison: what is put back is compared as a whole.
    ///
    /// Kernels since August 2025 refuse a netem that duplicates next to another one, and see the one
    /// that is to be replaced as such a neighbour: there the old one is deleted first.
    pub(super) fn write_qdisc(
        &mut self,
        operation: Operation,
        place: Place,
        kind: &str,
        options: Option<Vec<u8>>,
    ) -> Result<(), QdiscError> {
        let refused = match self.send_qdisc(operation, place, kind, options.clone()) {
            Err(error) if operation == Operation::Replace && place.parent == Handle::ROOT => error,
            other => return other,
        };
        let clash = matches!(&refused, QdiscError::Refused { errno: Errno::EINVAL, message, .. }
            if message.contains("duplicating netem"));
        let mut roots = self.qdiscs(place.device)?;
        roots.retain(|record| record.parent == Handle::ROOT && record.kind == TcQdiscNetem::KIND);
        match roots.first() {
            Some(old) if clash && old.handle != place.handle => {
                self.delete(Place::root(place.device, old.handle))?;
                self.send_qdisc(Operation::Add, place, kind, options)
            }
            _ => Err(refused),
        }
    }

    fn send_qdisc(
        &mut self,
        operation: Operation,
        place: Place,
        kind: &str,
        options: Option<Vec<u8>>,
    ) -> Result<(), QdiscError> {
        let message = RouteNetlinkMessage::NewQueueDiscipline(message(place, Some(kind), options));
        self.request(operation, &place.target("qdisc", kind), message, flags(operation))
    }

    fn write_class(
        &mut self,
        operation: Operation,
        place: Place,
        spec: &ClassSpec,
    ) -> Result<Applied, QdiscError> {
        self.send_class(operation, place, spec.kind(), Some(spec.options()?))?;
        let dump = self.classes(place.device)?;
        confirm(&place.target("class", spec.kind()), &dump, |options| spec.compare(options))
    }

    /// Sends a class as it is, without a comparison.
    pub(super) fn send_class(
        &mut self,
        operation: Operation,
        place: Place,
        kind: &str,
        options: Option<Vec<u8>>,
    ) -> Result<(), QdiscError> {
        let message = RouteNetlinkMessage::NewTrafficClass(message(place, Some(kind), options));
        self.request(operation, &place.target("class", kind), message, flags(operation))
    }
}

fn flags(operation: Operation) -> u16 {
    match operation {
        Operation::Add => NLM_F_CREATE | NLM_F_EXCL,
        Operation::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        Operation::Change | Operation::Delete | Operation::Dump => 0,
    }
}

fn message(place: Place, kind: Option<&str>, options: Option<Vec<u8>>) -> TcMessage {
    let header = TcHeader {
        index: place.device.cast_signed(),
        parent: place.parent.into(),
        handle: place.handle.into(),
        ..TcHeader::default()
    };
    let mut attributes = Vec::new();
    attributes.extend(kind.map(|kind| TcAttribute::Kind(kind.to_owned())));
    attributes.extend(options.map(|bytes| TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, bytes))));
    TcMessage::from_parts(header, attributes)
}

/// Finds what was written in a dump and compares it.
fn confirm(
    target: &Target,
    dump: &[TcRecord],
    compare: impl FnOnce(Option<&[u8]>) -> Result<ReadBack, netlink_packet_core::DecodeError>,
) -> Result<Applied, QdiscError> {
    let not_applied =
        |mismatches| Err(QdiscError::NotApplied { target: Box::new(target.clone()), mismatches });
    // Classes have a handle of their own always; their parent is dumped as the root in some places.
    let found = dump.iter().find(|record| match target.handle {
        Handle::UNSPEC => record.parent == target.parent,
        handle => record.handle == handle,
    });
    let Some(record) = found else {
        return not_applied(vec![Mismatch {
            what: target.object.to_owned(),
            wanted: target.handle.to_string(),
            got: "absent".to_owned(),
        }]);
    };
    if record.kind != target.kind {
        return not_applied(vec![Mismatch {
            what: "kind".to_owned(),
            wanted: target.kind.clone(),
            got: record.kind.clone(),
        }]);
    }
    let place = Place { device: target.device, parent: target.parent, handle: record.handle };
    match compare(record.options.as_deref()) {
        Ok(ReadBack { mismatches, unconfirmed }) if mismatches.is_empty() => {
            Ok(Applied { place, unconfirmed })
        }
        Ok(ReadBack { mismatches, .. }) => not_applied(mismatches),
        Err(source) => Err(QdiscError::Malformed {
            operation: Operation::Dump,
            target: Box::new(target.clone()),
            source,
        }),
    }
}
