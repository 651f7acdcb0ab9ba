use proptest::prelude::*;

use super::Wheel;

/// Times of every magnitude, so that all levels and the overflow are met.
fn any_span() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..64_u64,
        0..1_u64 << 16,
        0..1_u64 << 24,
        0..1_u64 << 32,
        0..1_u64 << 40,
        0..1_u64 << 48,
        Just(0),
    ]
}

/// Starts next to every boundary at which a digit carries.
fn any_start() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        (14..60_u32, 0..100_000_u64).prop_map(|(bit, back)| (1_u64 << bit).saturating_sub(back)),
        0..1_u64 << 60,
    ]
}

proptest! {
    #[test]
    fn leaves_in_deadline_order_never_early_and_completely(
        start in any_start(),
        steps in prop::collection::vec((any_span(), any_span(), any::<bool>()), 1..200),
    ) {
        let mut wheel = Wheel::new(start);
        let mut model: Vec<(u64, usize)> = Vec::new();
        let mut now = start;
        for (number, (wait, ahead, past)) in steps.into_iter().enumerate() {
            let deadline = if past { now.saturating_sub(ahead) } else { now + ahead };
            wheel.push(deadline, number);
            model.push((deadline, number));
            now += wait / 4;
            model.sort_unstable();
            prop_assert_eq!(wheel.next_deadline(), model.first().map(|entry| entry.0));
            while let Some(popped) = wheel.pop(now) {
                prop_assert!(popped.0 <= now, "{} is early at {now}", popped.0);
                prop_assert_eq!(Some(&popped), model.first());
                model.remove(0);
            }
            prop_assert!(model.first().is_none_or(|entry| entry.0 > now), "something is stuck");
            prop_assert_eq!(wheel.len(), model.len());
        }
        for expected in model {
            prop_assert_eq!(wheel.pop_any(), Some(expected));
        }
        prop_assert!(wheel.is_empty());
        prop_assert_eq!(wheel.next_deadline(), None);
    }
}

proptest! {
    #[test]
    fn extracting_takes_the_chosen_in_order_and_leaves_the_rest(
        start in any_start(),
        entries in prop::collection::vec((any_span(), 0..3_u8), 0..200),
        elapsed in any_span(),
    ) {
        let mut wheel = Wheel::new(start);
        let (mut chosen, mut rest) = (Vec::new(), Vec::new());
        for (number, (ahead, class)) in entries.into_iter().enumerate() {
            wheel.push(start + ahead, (number, class));
            let list = if class == 1 { &mut chosen } else { &mut rest };
            list.push((start + ahead, (number, class)));
        }
        chosen.sort_unstable();
        rest.sort_unstable();
        let now = start + elapsed;
        let mut due = Vec::new();
        if let Some(first) = wheel.pop(now) {
            due.push(first);
        }
        let taken = wheel.extract(|value| value.1 == 1);
        prop_assert_eq!(wheel.next_deadline(), {
            let left = rest.iter().filter(|entry| !due.contains(entry));
            left.map(|entry| entry.0).min()
        });
        while let Some(next) = wheel.pop_any() {
            due.push(next);
        }
        due.extend(taken.iter().copied());
        let of = |class: bool| {
            due.iter().copied().filter(move |entry| (entry.1.1 == 1) == class).collect::<Vec<_>>()
        };
        prop_assert_eq!(of(true), chosen);
        prop_assert_eq!(of(false), rest);
    }
}

#[test]
fn equal_deadlines_leave_first_in_first_out() {
    let mut wheel = Wheel::new(7);
    for number in 0..1000 {
        wheel.push(5_000_000, number);
    }
    assert_eq!(wheel.pop(4_999_999), None);
    for number in 0..1000 {
        assert_eq!(wheel.pop(5_000_000), Some((5_000_000, number)));
    }
}

#[test]
fn one_nanosecond_matters_within_a_tick() {
    let mut wheel = Wheel::new(0);
    wheel.push(101, 'b');
    wheel.push(100, 'a');
    assert_eq!(wheel.pop(99), None);
    assert_eq!(wheel.pop(100), Some((100, 'a')));
    assert_eq!(wheel.pop(100), None);
    assert_eq!(wheel.pop(101), Some((101, 'b')));
}

#[test]
fn holds_for_days() {
    let day = 86_400_000_000_000;
    let mut wheel = Wheel::new(1);
    for number in (1..30).rev() {
        wheel.push(number * day, number);
    }
    for number in 1..30 {
        assert_eq!(wheel.pop(number * day - 1), None);
        assert_eq!(wheel.pop(number * day), Some((number * day, number)));
    }
}

#[test]
fn what_overflowed_is_found_again_when_time_passes_the_horizon() {
    let horizon = 1_u64 << (14 + 32);
    let mut wheel = Wheel::new(0);
    wheel.push(horizon + 1_000_000, 'a');
    assert_eq!(wheel.pop(horizon + 1), None);
    wheel.push(horizon + 2_000_000, 'b');
    assert_eq!(wheel.next_deadline(), Some(horizon + 1_000_000));
    assert_eq!(wheel.pop_any(), Some((horizon + 1_000_000, 'a')));
    assert_eq!(wheel.pop_any(), Some((horizon + 2_000_000, 'b')));
}
