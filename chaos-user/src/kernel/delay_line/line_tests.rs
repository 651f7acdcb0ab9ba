use std::time::Duration;

use proptest::prelude::*;

use super::super::setting::{Order, Overflow};
use super::*;

const MS: u64 = 1_000_000;

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn latency(millis: u64) -> Setting {
    Setting { latency: Duration::from_millis(millis), ..Setting::default() }
}

fn arrival(at: u64) -> Arrival {
    Arrival { at, bytes: 100, packets: 1, flow: 0 }
}

#[test]
fn slots_are_what_a_vlan_tag_can_say() {
    assert_eq!(Slot::new(0), None);
    assert_eq!(Slot::new(4095), None);
    assert_eq!(Slot::new(4094), Some(Slot::MAX));
}

#[test]
fn slots_do_not_mix() {
    let mut line = Line::new(0, 0, 1 << 20);
    line.set(slot(1), latency(10)).unwrap();
    line.set(slot(4094), latency(1)).unwrap();
    assert_eq!(line.offer(slot(1), &arrival(0), 100, 'a'), Offer::Held);
    assert_eq!(line.offer(slot(4094), &arrival(0), 100, 'b'), Offer::Held);
    assert_eq!(line.offer(slot(2), &arrival(0), 100, 'c'), Offer::Stray('c'));
    assert_eq!(line.next_deadline(), Some(MS));
    assert_eq!(line.due(MS - 1), None);
    let due = Due { frame: 'b', slot: slot(4094), arrived: 0, deadline: MS };
    assert_eq!(line.due(MS), Some(due));
    assert_eq!(line.due(MS), None);
    assert_eq!(line.due(10 * MS).unwrap().frame, 'a');
    assert_eq!(line.strays(), 1);
    assert!(line.evidence(slot(2)).is_none());
    let evidence = line.evidence(slot(1)).unwrap();
    assert_eq!(evidence.hold.mean(), Some(Duration::from_millis(10)));
    assert_eq!((evidence.counters.released, evidence.counters.held), (1, 0));
}

#[test]
fn retiring_a_slot_hands_out_what_it_holds_in_order() {
    let mut line = Line::new(0, 0, 1 << 20);
    line.set(slot(1), latency(1000)).unwrap();
    line.set(slot(2), latency(1000)).unwrap();
    for at in 0..20 {
        line.offer(slot(1 + (at % 2) as u16), &arrival(at), 10, at);
    }
    let handed: Vec<_> = line.retire(slot(1), 30).into_iter().map(|due| due.frame).collect();
    assert_eq!(handed, (0..20).step_by(2).collect::<Vec<_>>());
    assert_eq!((line.len(), line.memory()), (10, 100));
    assert_eq!(line.offer(slot(1), &arrival(40), 10, 99), Offer::Deliver(99));
    let counters = line.evidence(slot(1)).unwrap().counters;
    assert_eq!((counters.released, counters.bypassed, counters.held), (10, 1, 0));

    line.set(slot(1), latency(1)).unwrap();
    assert_eq!(line.evidence(slot(1)).unwrap().counters.arrived, 0);
    assert_eq!(line.offer(slot(1), &arrival(50), 10, 100), Offer::Held);
    assert!(line.retire(slot(77), 0).is_empty());
}

proptest! {
    #[test]
    fn memory_stays_within_its_limit_and_every_frame_comes_out(
        limit in 0..5_000_usize,
        drop in any::<bool>(),
        frames in prop::collection::vec((0..MS, 1..3_u16, 1..700_u32), 1..300),
    ) {
        let mut line = Line::new(0, 1, limit);
        let overflow = if drop { Overflow::Drop } else { Overflow::Deliver };
        for number in [1, 2] {
            let jitter = Duration::from_millis(3);
            let setting = Setting { jitter, overflow, order: Order::Free, ..latency(5) };
            line.set(slot(number), setting).unwrap();
        }
        let (mut now, mut out, mut last) = (0, vec![], 0);
        let total = frames.len();
        for (number, (wait, to, footprint)) in frames.into_iter().enumerate() {
            now += wait;
            while let Some(due) = line.due(now) {
                prop_assert!(due.deadline >= last && due.deadline <= now);
                last = due.deadline;
                out.push(due.frame);
            }
            match line.offer(slot(to), &arrival(now), footprint, number) {
                Offer::Held => {}
                Offer::Deliver(frame) => { prop_assert!(!drop); out.push(frame); }
                Offer::Drop(frame) => { prop_assert!(drop); out.push(frame); }
                Offer::Stray(_) => prop_assert!(false, "both slots are set"),
            }
            prop_assert!(line.memory() <= limit);
        }
        while let Some(due) = line.due_any(now) {
            out.push(due.frame);
        }
        prop_assert_eq!((line.memory(), line.len(), line.next_deadline()), (0, 0, None));
        out.sort_unstable();
        prop_assert_eq!(out, (0..total).collect::<Vec<_>>());
        let sum = |pick: fn(&Evidence) -> u64| {
            [1, 2].iter().map(|number| pick(line.evidence(slot(*number)).unwrap())).sum::<u64>()
        };
        let accounted = sum(|e| e.counters.released + e.counters.bypassed + e.counters.dropped);
        prop_assert_eq!(accounted, total as u64);
        prop_assert_eq!(sum(|e| e.counters.held), 0);
    }
}
