use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use proptest::prelude::*;

use super::super::setting::{Rate, Reorder};
use super::*;

const MS: u64 = 1_000_000;

fn arrival(at: u64, flow: u64) -> Arrival {
    Arrival { at, bytes: 1000, packets: 1, flow }
}

fn emulator(setting: Setting) -> Emulator {
    Emulator::new(42, 7, setting).unwrap()
}

fn release(decision: Decision) -> u64 {
    match decision {
        Decision::Hold(at) | Decision::Overtake(at) => at,
        other => panic!("{other:?}"),
    }
}

fn jittery(order: Order) -> Setting {
    Setting {
        latency: Duration::from_millis(10),
        jitter: Duration::from_millis(10),
        order,
        ..Setting::default()
    }
}

#[test]
fn a_plain_latency_is_exact() {
    let mut slot = emulator(Setting { latency: Duration::from_nanos(123), ..Setting::default() });
    for at in [0, 1, 50, 50, 1 << 60] {
        assert_eq!(slot.decide(&arrival(at, 1), 0, true), Decision::Hold(at + 123));
    }
}

proptest! {
    #[test]
    fn order_is_kept_within_each_flow(
        packets in prop::collection::vec((0..3 * MS, 0..4_u64), 1..300),
    ) {
        let mut slot = emulator(jittery(Order::Keep));
        let mut last = [0; 4];
        let mut now = 0;
        for (wait, flow) in packets {
            now += wait;
            let at = release(slot.decide(&arrival(now, flow), 0, true));
            prop_assert!(at >= now && at >= last[flow as usize]);
            last[flow as usize] = at;
        }
    }

    #[test]
    fn a_free_delay_stays_between_its_bounds(waits in prop::collection::vec(0..MS, 1..300)) {
        let mut slot = emulator(jittery(Order::Free));
        let mut now = 0;
        for wait in waits {
            now += wait;
            let at = release(slot.decide(&arrival(now, 1), 0, true));
            prop_assert!((now..now + 20 * MS).contains(&at));
        }
    }
}

#[test]
fn free_jitter_reorders_and_another_flow_does_not_wait() {
    let mut slot = emulator(jittery(Order::Free));
    let times: Vec<_> = (0..100).map(|n| release(slot.decide(&arrival(n, 1), 0, true))).collect();
    assert!(times.windows(2).any(|pair| pair[1] < pair[0]));

    let mut slot = emulator(jittery(Order::Keep));
    for _ in 0..100 {
        slot.decide(&arrival(0, 1), 0, true);
    }
    let highest = release(slot.decide(&arrival(0, 1), 0, true));
    let other = (0..100).map(|n| release(slot.decide(&arrival(0, 2 + n), 0, true))).min().unwrap();
    assert!(other < highest);
}

#[test]
fn a_seed_reproduces_the_delays() {
    let run = |seed| {
        let mut slot = Emulator::new(seed, 7, jittery(Order::Free)).unwrap();
        (0..50).map(|n| release(slot.decide(&arrival(n, 1), 0, true))).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_gap_makes_exactly_every_nth_overtake() {
    let reorder = Reorder { chance: 1.0, correlation: 0.0, gap: NonZeroU32::new(5).unwrap() };
    let latency = Duration::from_millis(10);
    let mut slot = emulator(Setting { latency, reorder: Some(reorder), ..Setting::default() });
    for n in 1..=100 {
        let expected = if n % 5 == 0 { Decision::Overtake(n) } else { Decision::Hold(n + 10 * MS) };
        assert_eq!(slot.decide(&arrival(n, 1), 0, true), expected);
    }
}

#[test]
fn the_chance_to_overtake_is_kept() {
    let reorder = Reorder { chance: 0.25, correlation: 0.0, gap: NonZeroU32::MIN };
    let mut slot = emulator(Setting { reorder: Some(reorder), ..Setting::default() });
    let overtook = (0..100_000)
        .filter(|n| matches!(slot.decide(&arrival(*n, 1), 0, true), Decision::Overtake(_)))
        .count() as f64;
    let sigma = (100_000.0 * 0.25 * 0.75_f64).sqrt();
    assert!((overtook - 25_000.0).abs() < 3.0 * sigma, "{overtook}");
}

#[test]
fn a_rate_comes_before_the_latency_and_bounds_the_queue() {
    let rate = Rate {
        bytes_per_second: NonZeroU64::new(1_000_000).unwrap(),
        overhead: 0,
        queue_packets: 2,
        queue_bytes: u64::MAX,
    };
    let latency = Duration::from_millis(10);
    let mut slot = emulator(Setting { latency, rate: Some(rate), ..Setting::default() });
    let decisions: Vec<_> = (0..4).map(|_| slot.decide(&arrival(0, 1), 0, true)).collect();
    let held = |n| Decision::Hold(n * MS + 10 * MS);
    assert_eq!(decisions, [held(1), held(2), held(3), Decision::Drop]);
    assert_eq!(slot.decide(&arrival(MS, 1), 0, true), held(4));
}

#[test]
fn what_cannot_be_held_follows_the_overflow_policy() {
    let setting = Setting { limit: 3, ..Setting::default() };
    let mut slot = emulator(setting.clone());
    assert_eq!(slot.decide(&arrival(0, 1), 2, true), Decision::Hold(0));
    assert_eq!(slot.decide(&arrival(0, 1), 3, true), Decision::Bypass);
    assert_eq!(slot.decide(&arrival(0, 1), 0, false), Decision::Bypass);
    slot.change(Setting { overflow: Overflow::Drop, ..setting }).unwrap();
    assert_eq!(slot.decide(&arrival(0, 1), 3, true), Decision::Drop);
    assert_eq!(slot.decide(&arrival(0, 1), 0, false), Decision::Drop);
}

#[test]
fn a_change_keeps_the_order_of_what_is_under_way() {
    let mut slot = emulator(Setting { latency: Duration::from_secs(1), ..Setting::default() });
    assert_eq!(slot.decide(&arrival(0, 1), 0, true), Decision::Hold(1000 * MS));
    slot.change(Setting { latency: Duration::from_millis(1), ..Setting::default() }).unwrap();
    assert_eq!(slot.decide(&arrival(5, 1), 0, true), Decision::Hold(1000 * MS));
    assert_eq!(slot.decide(&arrival(1000 * MS, 1), 0, true), Decision::Hold(1001 * MS));
    let refused = slot.change(Setting { limit: 0, ..Setting::default() });
    assert_eq!(refused, Err(InvalidSetting::NoLimit));
    assert_eq!(slot.setting().latency, Duration::from_millis(1));
}
