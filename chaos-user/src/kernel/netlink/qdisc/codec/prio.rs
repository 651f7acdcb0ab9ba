//! prio: strict priority bands, each with a qdisc of its own.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext as _, NlasIterator, Parseable,
};
use netlink_packet_route::tc::TcAttribute;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::raw::{attribute, read};

const QOPT_LEN: usize = size_of::<Qopt>();

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Qopt {
    bands: i32,
    priomap: [u8; 16],
}

/// prio's `TCA_OPTIONS`: `struct tc_prio_qopt`, then attributes that no kernel in use reads (`tc`
/// sends an empty nest there).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcQdiscPrio {
    /// Number of bands, 2 to 16; band `n` is the class `handle:n+1`.
    pub bands: i32,
    /// Band of each value of the packet's priority.
    pub priomap: [u8; 16],
    /// What follows the structure.
    pub options: Vec<DefaultNla>,
}

impl TcQdiscPrio {
    /// `TCA_KIND`
    pub const KIND: &'static str = "prio";

    /// Options with `bands` bands and no attributes.
    pub fn new(bands: i32, priomap: [u8; 16]) -> Self {
        Self { bands, priomap, options: Vec::new() }
    }
}

impl Emitable for TcQdiscPrio {
    fn buffer_len(&self) -> usize {
        QOPT_LEN + self.options.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let qopt = Qopt { bands: self.bands, priomap: self.priomap };
        buffer[..QOPT_LEN].copy_from_slice(qopt.as_bytes());
        self.options.as_slice().emit(&mut buffer[QOPT_LEN..]);
    }
}

impl Parseable<[u8]> for TcQdiscPrio {
    fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let Qopt { bands, priomap } = read(payload).context("invalid tc_prio_qopt")?;
        let options = NlasIterator::new(&payload[QOPT_LEN..])
            .map(|nla| DefaultNla::parse(&nla?))
            .collect::<Result<_, _>>()?;
        Ok(Self { bands, priomap, options })
    }
}

impl From<&TcQdiscPrio> for TcAttribute {
    fn from(options: &TcQdiscPrio) -> Self {
        attribute(options)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLA_F_NESTED;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::netlink::qdisc::codec::to_bytes;

    // Setup:
    //      ip link add v0 type veth peer name v1
    //
    // Capture (iproute2 6.1.0):
    //      strace -e sendmsg -xx tc qdisc add dev v0 root handle 1: \
    //          prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1
    const RAW: &[u8] = &[
        0x04, 0x00, 0x00, 0x00, // bands: 4
        0x01, 0x02, 0x02, 0x02, 0x01, 0x02, 0x00, 0x00, // priomap
        0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, // priomap
        0x04, 0x00, 0x02, 0x00, // an empty attribute for kernels before 2.6.25
    ];

    #[test]
    fn golden_bytes_both_ways() {
        let mut want = TcQdiscPrio::new(4, [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        want.options.push(DefaultNla::new(2, Vec::new()));
        assert_eq!(TcQdiscPrio::parse(RAW).unwrap(), want);
        assert_eq!(to_bytes(&want), RAW);
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(
            bands: i32,
            priomap: [u8; 16],
            extra in prop::collection::vec((0u16..100, prop::collection::vec(any::<u8>(), 0..40)), 0..4),
        ) {
            let mut want = TcQdiscPrio::new(bands, priomap);
            want.options = extra
                .into_iter()
                .map(|(kind, value)| DefaultNla::new(kind | NLA_F_NESTED, value))
                .collect();
            prop_assert_eq!(TcQdiscPrio::parse(to_bytes(&want).as_slice()).unwrap(), want);
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = TcQdiscPrio::parse(bytes.as_slice());
        }
    }
}
