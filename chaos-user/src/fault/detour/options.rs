//! How the delay line works, where it holds the packets.

use std::num::NonZeroU16;
use std::time::Duration;

use chaos_common::detour::QUEUES;

use super::DetourError;
use crate::experiment::units::Span;
use crate::kernel::delay_line::{Config, Segmentation};

/// How the delay line works; what is not said is as [`Config::default`] has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOptions {
    /// Whether each packet of a segmented burst is held by itself.
    pub per_packet: bool,
    /// Threads that hold packets, 1 to [`Self::THREADS`], each with a queue of the TAP. The packets of a rule
    /// that pass a device in one direction belong to one of them.
    pub threads: Option<NonZeroU16>,
    /// How long before a packet's time a thread stops sleeping and watches the clock, at most
    /// [`Self::SPIN`]; `None` is as long as it wakes late.
    pub spin: Option<Span>,
    /// Real-time priority (SCHED_FIFO) of the threads, at most [`Self::PRIORITY`]; 0 is none.
    pub priority: Option<u8>,
}

impl LineOptions {
    /// The most threads.
    pub const THREADS: u16 = QUEUES as u16;
    /// The longest spin.
    pub const SPIN: Span = Span::from_ms(1);
    /// The highest priority.
    pub const PRIORITY: u8 = 99;

    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), DetourError> {
        let refuse = |what, given: String, wanted| Err(DetourError::Option { what, given, wanted });
        if let Some(threads) = self.threads.filter(|threads| threads.get() > Self::THREADS) {
            return refuse("threads", threads.to_string(), "1 to 16");
        }
        if let Some(spin) = self.spin.filter(|spin| *spin > Self::SPIN) {
            return refuse("spin", spin.to_string(), "at most 1ms");
        }
        if let Some(priority) = self.priority.filter(|priority| *priority > Self::PRIORITY) {
            return refuse("priority", priority.to_string(), "0 to 99");
        }
        Ok(())
    }

    /// What netem could not do of it, in words.
    pub(super) fn only_line(&self) -> Option<&'static str> {
        let Self { per_packet, threads, spin, priority } = self;
        let asked = [
            (*per_packet, "hold each packet of a burst by itself (--per-packet)"),
            (threads.is_some(), "hold packets by threads (--threads)"),
            (spin.is_some(), "watch the clock (--spin)"),
            (priority.is_some(), "give its threads a priority (--priority)"),
        ];
        asked.into_iter().find_map(|(asked, what)| asked.then_some(what))
    }

    pub(super) fn threads(&self) -> NonZeroU16 {
        self.threads.unwrap_or(NonZeroU16::MIN)
    }

    /// The settings of a line that works so.
    pub(super) fn config(&self) -> Config {
        let default = Config::default();
        Config {
            segmentation: if self.per_packet {
                Segmentation::PerPacket
            } else {
                Segmentation::Offloaded
            },
            spin: self.spin.map(|spin| Duration::from_nanos(spin.nanos())),
            realtime: self.priority.unwrap_or(default.realtime),
            ..default
        }
    }
}
