//! tbf as somebody wants it.

use serde::{Deserialize, Serialize};

use super::InvalidQdisc;
use crate::kernel::netlink::qdisc::codec::{
    TcQdiscTbf, TcQdiscTbfOption as Attribute, TcRateSpec, TcTbfQopt,
};
use crate::kernel::netlink::qdisc::compare::ReadBack;
use crate::kernel::netlink::qdisc::units::ticks_to_send;

/// A bound on how fast a burst leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakRate {
    /// Bytes per second, above the rate.
    pub bytes_per_second: u64,
    /// Size of its bucket in bytes; at least the largest frame.
    pub burst: u32,
}

/// A token bucket: a rate, and a burst that may exceed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tbf {
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Size of the bucket in bytes; at least the largest frame, or that frame never passes.
    pub burst: u32,
    /// Bytes that can wait for tokens; more are dropped.
    pub limit: u32,
    /// A bound on bursts.
    pub peak: Option<PeakRate>,
}

impl Tbf {
    fn invalid(what: &'static str, value: u64, problem: &'static str) -> InvalidQdisc {
        InvalidQdisc { kind: TcQdiscTbf::KIND, what, value: value.to_string(), problem }
    }

    fn validate(&self) -> Result<(), InvalidQdisc> {
        if self.bytes_per_second == 0 {
            return Err(Self::invalid("rate", 0, "would never send anything"));
        }
        if self.burst == 0 {
            return Err(Self::invalid("burst", 0, "lets no packet pass"));
        }
        if self.limit == 0 {
            return Err(Self::invalid("limit", 0, "drops every packet"));
        }
        match self.peak {
            Some(peak) if peak.bytes_per_second <= self.bytes_per_second => {
                Err(Self::invalid("peak rate", peak.bytes_per_second, "is not above the rate"))
            }
            Some(peak) if peak.burst == 0 => {
                Err(Self::invalid("peak burst", 0, "lets no packet pass"))
            }
            _ => Ok(()),
        }
    }

    fn parms(&self) -> TcTbfQopt {
        TcTbfQopt {
            rate: TcRateSpec::ethernet(self.bytes_per_second),
            peak_rate: self.peak.map_or_else(TcRateSpec::default, |peak| {
                TcRateSpec::ethernet(peak.bytes_per_second)
            }),
            limit: self.limit,
            buffer: ticks_to_send(self.burst.into(), self.bytes_per_second),
            mtu: self
                .peak
                .map_or(0, |peak| ticks_to_send(peak.burst.into(), peak.bytes_per_second)),
        }
    }

    pub(super) fn to_wire(self) -> Result<TcQdiscTbf, InvalidQdisc> {
        self.validate()?;
        let parms = self.parms();
        let mut options = vec![Attribute::Parms(parms), Attribute::Burst(self.burst)];
        if parms.rate.rate == u32::MAX {
            options.push(Attribute::Rate64(self.bytes_per_second));
        }
        if let Some(peak) = self.peak {
            options.push(Attribute::PeakBurst(peak.burst));
            if parms.peak_rate.rate == u32::MAX {
                options.push(Attribute::PeakRate64(peak.bytes_per_second));
            }
        }
        Ok(TcQdiscTbf::new(options))
    }

    pub(super) fn compare(&self, got: &TcQdiscTbf) -> ReadBack {
        let mut result = ReadBack::default();
        let (mut parms, mut rate, mut peak) = (TcTbfQopt::default(), 0, 0);
        for option in &got.options {
            match option {
                Attribute::Parms(v) => {
                    parms = *v;
                    rate = rate.max(v.rate.rate.into());
                    peak = peak.max(v.peak_rate.rate.into());
                }
                Attribute::Rate64(v) => rate = *v,
                Attribute::PeakRate64(v) => peak = *v,
                _ => {}
            }
        }
        let wanted = self.parms();
        result.expect("rate (B/s)", self.bytes_per_second, rate);
        result.expect("peak rate (B/s)", self.peak.map_or(0, |p| p.bytes_per_second), peak);
        result.expect("limit", self.limit, parms.limit);
        result.expect_ticks("burst", wanted.buffer, parms.buffer);
        result.expect_ticks("peak burst", wanted.mtu, parms.mtu);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TBF: Tbf = Tbf { bytes_per_second: 125_000, burst: 4096, limit: 54_096, peak: None };

    #[test]
    fn ranges_and_comparison() {
        let wire = TBF.to_wire().unwrap();
        assert_eq!(TBF.compare(&wire), ReadBack::default());
        let peak = Some(PeakRate { bytes_per_second: 5_000_000_000, burst: 9000 });
        for other in [
            Tbf { bytes_per_second: 125_001, ..TBF },
            Tbf { burst: 8192, ..TBF },
            Tbf { limit: 1, ..TBF },
            Tbf { peak, ..TBF },
        ] {
            assert!(!other.compare(&wire).mismatches.is_empty(), "{other:?}");
            assert_eq!(other.compare(&other.to_wire().unwrap()), ReadBack::default());
        }
        for (what, bad) in [
            ("rate", Tbf { bytes_per_second: 0, ..TBF }),
            ("burst", Tbf { burst: 0, ..TBF }),
            ("limit", Tbf { limit: 0, ..TBF }),
            (
                "peak rate",
                Tbf { peak: Some(PeakRate { bytes_per_second: 125_000, burst: 1 }), ..TBF },
            ),
        ] {
            assert_eq!(bad.to_wire().unwrap_err().what, what);
        }
    }
}
