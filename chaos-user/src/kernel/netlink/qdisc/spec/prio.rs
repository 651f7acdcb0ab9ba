//! prio as somebody wants it.

use serde::{Deserialize, Serialize};

use super::InvalidQdisc;
use crate::kernel::netlink::qdisc::codec::TcQdiscPrio;
use crate::kernel::netlink::qdisc::compare::ReadBack;

/// Strict priority bands; band `n` is the class `handle:n+1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prio {
    /// Number of bands, 2 to 16.
    pub bands: u8,
    /// Band of each value (0 to 15) of a packet's priority.
    pub priomap: [u8; 16],
}

impl Prio {
    /// Bands of a prio at most (`TCQ_PRIO_BANDS`).
    pub const MAX_BANDS: u8 = 16;

    /// `bands` bands, of which the first gets every packet that does not name a class.
    pub fn with_default_band(bands: u8) -> Self {
        Self { bands, priomap: [0; 16] }
    }

    pub(super) fn to_wire(&self) -> Result<TcQdiscPrio, InvalidQdisc> {
        if !(2..=Self::MAX_BANDS).contains(&self.bands) {
            return Err(InvalidQdisc {
                kind: TcQdiscPrio::KIND,
                what: "bands",
                value: self.bands.to_string(),
                problem: "is not within 2 to 16",
            });
        }
        if let Some(band) = self.priomap.iter().find(|band| **band >= self.bands) {
            return Err(InvalidQdisc {
                kind: TcQdiscPrio::KIND,
                what: "priomap",
                value: band.to_string(),
                problem: "names a band that does not exist",
            });
        }
        Ok(TcQdiscPrio::new(self.bands.into(), self.priomap))
    }

    pub(super) fn compare(&self, got: &TcQdiscPrio) -> ReadBack {
        let mut result = ReadBack::default();
        result.expect("bands", i32::from(self.bands), got.bands);
        result.expect("priomap", format!("{:?}", self.priomap), format!("{:?}", got.priomap));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_comparison() {
        let prio = Prio { bands: 4, priomap: [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1] };
        let mut wire = prio.to_wire().unwrap();
        assert_eq!(prio.compare(&wire), ReadBack::default());
        wire.bands = 5;
        wire.priomap[3] = 0;
        assert_eq!(prio.compare(&wire).mismatches.len(), 2);
        for bands in [0, 1, 17] {
            assert_eq!(Prio::with_default_band(bands).to_wire().unwrap_err().what, "bands");
        }
        assert_eq!(Prio { bands: 2, ..prio }.to_wire().unwrap_err().what, "priomap");
    }
}
