//! Sampled fault events for the controller.

use chaos_common::counter::RuleCounters;
use chaos_common::event::{Event, SAMPLE, UNSAMPLED};
use chaos_common::rule::Rule;

use crate::clock;
use crate::maps::EVENTS;
use crate::packet::Packet;

/// Reports that `rule` acted on `packet`, unless it is left out by sampling.
#[inline(never)]
pub fn record(packet: &Packet, rule: &Rule, sequence: u64, counters: &mut RuleCounters) {
    if counters.acted > UNSAMPLED && counters.acted & (SAMPLE - 1) != 0 {
        return;
    }
    let Some(mut slot) = EVENTS.reserve::<Event>(0) else {
        counters.events_lost += 1;
        return;
    };
    slot.write(Event {
        time: clock::exact(),
        sequence,
        local: packet.ends.local,
        remote: packet.ends.remote,
        slot: rule.slot,
        ifindex: packet.ifindex,
        length: packet.length,
        local_port: packet.ends.local_port,
        remote_port: packet.ends.remote_port,
        protocol: packet.ends.protocol,
        family: packet.family,
        hook: packet.hook,
        action: rule.action,
        reserved: 0,
    });
    slot.submit(0);
}
