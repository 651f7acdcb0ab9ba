//! htb and its classes as somebody wants them.

use serde::{Deserialize, Serialize};

use super::InvalidQdisc;
use crate::kernel::netlink::qdisc::codec::{
    TcClassHtb, TcHtbGlob, TcHtbOpt, TcQdiscHtb, TcQdiscHtbOption as Attribute, TcRateSpec,
};
use crate::kernel::netlink::qdisc::compare::ReadBack;
use crate::kernel::netlink::qdisc::units::ticks_to_send;

/// An htb qdisc. Neither value can be altered once it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HtbQdisc {
    /// Minor number of the class for packets that name none; 0 lets those pass unshaped.
    pub default_class: u16,
    /// Packets of those that can wait; `None` for the device's queue length.
    pub direct_queue: Option<u32>,
}

/// What the kernel divides a rate by where a class has no quantum; ours always have one.
const RATE_TO_QUANTUM: u32 = 10;

impl HtbQdisc {
    pub(super) fn to_wire(self) -> TcQdiscHtb {
        let mut options = vec![Attribute::Init(TcHtbGlob {
            version: TcHtbGlob::VERSION,
            rate2quantum: RATE_TO_QUANTUM,
            default_class: self.default_class.into(),
            ..TcHtbGlob::default()
        })];
        options.extend(self.direct_queue.map(Attribute::DirectQlen));
        TcQdiscHtb::new(options)
    }

    pub(super) fn compare(self, got: &TcQdiscHtb) -> ReadBack {
        let mut result = ReadBack::default();
        let (mut glob, mut direct_queue) = (TcHtbGlob::default(), None);
        for option in &got.options {
            match option {
                Attribute::Init(v) => glob = *v,
                Attribute::DirectQlen(v) => direct_queue = Some(*v),
                _ => {}
            }
        }
        result.expect("default class", u32::from(self.default_class), glob.default_class);
        result.expect("r2q", RATE_TO_QUANTUM, glob.rate2quantum);
        if let Some(wanted) = self.direct_queue {
            result.expect("direct queue", wanted, direct_queue.unwrap_or_default());
        }
        result
    }
}

/// An htb class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HtbClass {
    /// Bytes per second it is sure of.
    pub rate: u64,
    /// Bytes per second it can borrow up to; at least the rate.
    pub ceil: u64,
    /// Burst at the rate, in bytes.
    pub burst: u64,
    /// Burst at the ceiling, in bytes.
    pub ceil_burst: u64,
    /// Bytes to send before the next class has its turn, 1000 to 200 000; at least the largest frame.
    pub quantum: u32,
    /// Priority, 0 (first) to 7.
    pub priority: u8,
}

impl HtbClass {
    /// A class that never holds a packet back: it only leads to its leaf. 800 Gbit/s with a burst
    /// of a second.
    pub fn unlimited() -> Self {
        let rate = 100_000_000_000;
        Self { rate, ceil: rate, burst: rate, ceil_burst: rate, quantum: 200_000, priority: 0 }
    }

    fn invalid(what: &'static str, value: u64, problem: &'static str) -> InvalidQdisc {
        InvalidQdisc { kind: "htb class", what, value: value.to_string(), problem }
    }

    fn validate(&self) -> Result<(), InvalidQdisc> {
        if self.rate == 0 {
            return Err(Self::invalid("rate", 0, "would never send anything"));
        }
        if self.ceil < self.rate {
            return Err(Self::invalid("ceil", self.ceil, "is below the rate"));
        }
        if !(1000..=200_000).contains(&self.quantum) {
            return Err(Self::invalid(
                "quantum",
                self.quantum.into(),
                "is not within 1000 to 200000 bytes",
            ));
        }
        if self.priority > 7 {
            return Err(Self::invalid("priority", self.priority.into(), "is not within 0 to 7"));
        }
        Ok(())
    }

    fn parms(&self) -> TcHtbOpt {
        TcHtbOpt {
            rate: TcRateSpec::ethernet(self.rate),
            ceil: TcRateSpec::ethernet(self.ceil),
            buffer: ticks_to_send(self.burst, self.rate),
            cbuffer: ticks_to_send(self.ceil_burst, self.ceil),
            quantum: self.quantum,
            level: 0,
            prio: self.priority.into(),
        }
    }

    pub(super) fn to_wire(self) -> Result<TcClassHtb, InvalidQdisc> {
        self.validate()?;
        Ok(TcClassHtb::new(vec![
            Attribute::Parms(self.parms()),
            Attribute::Rate64(self.rate),
            Attribute::Ceil64(self.ceil),
        ]))
    }

    pub(super) fn compare(&self, got: &TcClassHtb) -> ReadBack {
        let mut result = ReadBack::default();
        let (mut parms, mut rate, mut ceil) = (TcHtbOpt::default(), 0, 0);
        for option in &got.options {
            match option {
                Attribute::Parms(v) => {
                    parms = *v;
                    rate = rate.max(v.rate.rate.into());
                    ceil = ceil.max(v.ceil.rate.into());
                }
                Attribute::Rate64(v) => rate = *v,
                Attribute::Ceil64(v) => ceil = *v,
                _ => {}
            }
        }
        let wanted = self.parms();
        result.expect("rate (B/s)", self.rate, rate);
        result.expect("ceil (B/s)", self.ceil, ceil);
        result.expect("quantum", self.quantum, parms.quantum);
        result.expect("priority", wanted.prio, parms.prio);
        result.expect_ticks("burst", wanted.buffer, parms.buffer);
        result.expect_ticks("ceil burst", wanted.cbuffer, parms.cbuffer);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_comparison() {
        let class = HtbClass {
            rate: 12_500_000,
            ceil: 6_250_000_000,
            burst: 1600,
            ceil_burst: 1500,
            quantum: 60_000,
            priority: 3,
        };
        let wire = class.to_wire().unwrap();
        assert_eq!(class.compare(&wire), ReadBack::default());
        assert!(!HtbClass::unlimited().compare(&wire).mismatches.is_empty());
        for (what, bad) in [
            ("rate", HtbClass { rate: 0, ..class }),
            ("ceil", HtbClass { ceil: 1, ..class }),
            ("quantum", HtbClass { quantum: 999, ..class }),
            ("priority", HtbClass { priority: 8, ..class }),
        ] {
            assert_eq!(bad.to_wire().unwrap_err().what, what);
        }
        let qdisc = HtbQdisc { default_class: 0x10, direct_queue: Some(7) };
        assert_eq!(qdisc.compare(&qdisc.to_wire()), ReadBack::default());
        assert_eq!(HtbQdisc::default().compare(&qdisc.to_wire()).mismatches.len(), 1);
    }
}
