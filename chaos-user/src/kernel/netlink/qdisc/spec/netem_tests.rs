use std::time::Duration;

use netlink_packet_core::Parseable as _;
use proptest::prelude::*;

use super::*;
use crate::kernel::netlink::qdisc::codec::{hex, to_bytes};
use crate::kernel::netlink::qdisc::compare::Unconfirmed;
use crate::kernel::netlink::qdisc::{Chance, DistributionTable, NetemRate, Reorder};

fn percent(percent: f64) -> Probability {
    Probability::from_percent(percent).unwrap()
}

fn rich() -> Netem {
    Netem {
        limit: 1000,
        latency: Duration::from_millis(100),
        jitter: Duration::from_millis(10),
        delay_correlation: percent(25.0),
        loss: Loss::Random { probability: percent(5.0), correlation: percent(20.0) },
        duplicate: percent(1.0).into(),
        corrupt: percent(0.1).into(),
        reorder: Some(Reorder {
            chance: Chance { probability: percent(25.0), correlation: percent(50.0) },
            gap: 1,
        }),
        ..Netem::default()
    }
}

// What Debian's kernels dumped after
//   netem delay 100ms 10ms 25% loss 5% 20% duplicate 1% corrupt 0.1% reorder 25% 50% limit 1000
const DUMP_6_1: &str = "84d71700e8030000cdcccc0c01000000295c8f025a620200
    0c000a0000e1f50500000000 0c000b008096980000000000
    10000100000000403333333300000000 0c0003000000004000000080 0c0004003789410000000000
    1400060000000000000000000000000000000000";
const SEED_6_12: &str = "0c000e0026ac97e79fc8ed3f";

#[test]
fn a_dump_that_is_as_wanted() {
    for raw in [DUMP_6_1.to_owned(), format!("{DUMP_6_1}{SEED_6_12}")] {
        let dump = TcQdiscNetem::parse(hex(&raw).as_slice()).unwrap();
        assert_eq!(rich().compare(&dump), ReadBack::default());
    }
}

#[test]
fn what_the_kernel_ignored_is_told() {
    let netem = Netem { seed: Some(42), distribution: Distribution::Normal, ..rich() };
    let dump = TcQdiscNetem::parse(hex(DUMP_6_1).as_slice()).unwrap();
    let result = netem.compare(&dump);
    assert!(result.mismatches.is_empty());
    let [Unconfirmed::Ignored { what, wanted, since }, Unconfirmed::NeverDumped { what: table }] =
        result.unconfirmed.as_slice()
    else {
        panic!("{result:?}");
    };
    assert_eq!((what.as_str(), wanted.as_str(), since.as_str()), ("seed", "42", "6.6"));
    assert_eq!(table, "delay distribution");
    // A kernel that knows the seed must have taken ours.
    let raw = format!("{DUMP_6_1}{SEED_6_12}");
    let dump = TcQdiscNetem::parse(hex(&raw).as_slice()).unwrap();
    assert_eq!(netem.compare(&dump).mismatches[0].what, "seed");
}

#[test]
fn each_attribute_is_compared() {
    let ge = Loss::GilbertElliott {
        p: percent(1.0),
        r: percent(10.0),
        bad_loss: percent(70.0),
        good_loss: percent(0.1),
    };
    let rate = NetemRate { packet_overhead: -14, ..NetemRate::new(12_500_000_000) };
    let slot = Slot {
        spacing: SlotSpacing::Between {
            min: Duration::from_micros(800),
            max: Duration::from_millis(1),
        },
        max_packets: Some(20),
        max_bytes: None,
    };
    let wanted = Netem {
        ecn: true,
        loss: ge,
        rate: Some(rate),
        slot: Some(slot.clone()),
        seed: Some(1),
        ..rich()
    };
    let dump = wanted.to_wire(Write::Fresh).unwrap();
    assert_eq!(wanted.compare(&dump), ReadBack::default());

    let ms = Duration::from_millis;
    let chance = |p| Chance { probability: percent(p), correlation: percent(p) };
    type Alter<'a> = (&'a str, Box<dyn Fn(&mut Netem) + 'a>);
    let alterations: [Alter<'_>; 15] = [
        ("limit", Box::new(|n| n.limit = 5)),
        ("latency (ns)", Box::new(move |n| n.latency = ms(100) + Duration::from_nanos(1))),
        ("jitter (ns)", Box::new(move |n| n.jitter = ms(9))),
        ("delay correlation", Box::new(|n| n.delay_correlation = percent(24.0))),
        ("loss", Box::new(|n| n.loss = Loss::random(percent(1.0)))),
        ("ecn", Box::new(|n| n.ecn = false)),
        ("duplicate", Box::new(move |n| n.duplicate = chance(1.5))),
        ("corrupt", Box::new(move |n| n.corrupt = chance(1.5))),
        ("gap", Box::new(|n| n.reorder = None)),
        (
            "reorder",
            Box::new(move |n| {
                n.reorder = Some(Reorder { chance: chance(26.0), gap: 1 });
            }),
        ),
        ("rate (B/s)", Box::new(|n| n.rate = None)),
        ("packet overhead", Box::new(|n| n.rate = Some(NetemRate::new(12_500_000_000)))),
        (
            "slot max (ns)",
            Box::new(move |n| {
                let spacing = SlotSpacing::Between { min: Duration::from_micros(800), max: ms(2) };
                n.slot = Some(Slot { spacing, ..slot.clone() });
            }),
        ),
        ("slot min (ns)", Box::new(|n| n.slot = None)),
        ("seed", Box::new(|n| n.seed = Some(2))),
    ];
    for (what, alter) in &alterations {
        let mut altered = wanted.clone();
        alter(&mut altered);
        let result = altered.compare(&dump);
        assert!(
            result.mismatches.iter().any(|mismatch| mismatch.what == *what),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn every_attribute_is_sent_even_when_unused() {
    let wire = Netem::default().to_wire(Write::Fresh).unwrap();
    let kinds: Vec<u16> = wire.options.iter().map(netlink_packet_core::Nla::kind).collect();
    assert_eq!(kinds, [10, 11, 1, 3, 4, 6, 7, 12]);
    // A table cannot be taken away from an existing netem, only replaced.
    let netem = Netem { jitter: Duration::from_millis(1), ..Netem::default() };
    let table = |write| {
        let wire = netem.to_wire(write).unwrap();
        wire.options.iter().any(|option| matches!(option, Attribute::DelayDist(_)))
    };
    assert_eq!((table(Write::Fresh), table(Write::Change)), (false, true));
}

#[test]
fn a_latency_beyond_the_ticks_is_kept_in_nanoseconds() {
    let netem = Netem::delay(Duration::from_mins(5));
    let wire = netem.to_wire(Write::Fresh).unwrap();
    assert_eq!(wire.qopt.latency, u32::MAX);
    assert!(wire.options.contains(&Attribute::Latency64(300_000_000_000)));
    assert_eq!(netem.compare(&wire), ReadBack::default());
}

#[test]
fn absurd_values_are_refused_with_their_name() {
    let d = Netem::default;
    let jitter = Duration::from_millis(1);
    let slot = |spacing| Some(Slot { spacing, max_packets: None, max_bytes: None });
    let reorder = |p, gap| Some(Reorder { chance: percent(p).into(), gap });
    for (what, netem) in [
        ("limit", Netem { limit: 0, ..d() }),
        ("latency", Netem::delay(Duration::MAX)),
        ("jitter", Netem { jitter: Duration::from_millis(2148), ..d() }),
        ("jitter", Netem { distribution: Distribution::Pareto, ..d() }),
        ("ecn", Netem { ecn: true, ..d() }),
        ("gap", Netem { latency: jitter, reorder: reorder(1.0, 0), ..d() }),
        ("reorder", Netem { latency: jitter, reorder: reorder(0.0, 1), ..d() }),
        ("latency", Netem { reorder: reorder(1.0, 1), ..d() }),
        ("rate", Netem { rate: Some(NetemRate::new(0)), ..d() }),
        (
            "slot delay",
            Netem { slot: slot(SlotSpacing::Between { min: jitter * 2, max: jitter }), ..d() },
        ),
        (
            "slot range",
            Netem {
                slot: slot(SlotSpacing::Between { min: jitter, max: Duration::from_secs(3) }),
                ..d()
            },
        ),
        (
            "slot jitter",
            Netem {
                slot: slot(SlotSpacing::Distributed {
                    delay: jitter,
                    jitter: Duration::ZERO,
                    distribution: Distribution::Normal,
                }),
                ..d()
            },
        ),
    ] {
        let error = netem.to_wire(Write::Fresh).unwrap_err();
        assert_eq!(error.what, what, "{error}");
    }
}

#[test]
fn two_full_tables_do_not_fit() {
    let table = || Distribution::Custom(DistributionTable::new(vec![1; 16384]).unwrap());
    let netem = Netem {
        jitter: Duration::from_millis(1),
        distribution: table(),
        slot: Some(Slot {
            spacing: SlotSpacing::Distributed {
                delay: Duration::from_millis(1),
                jitter: Duration::from_millis(1),
                distribution: table(),
            },
            max_packets: None,
            max_bytes: None,
        }),
        ..Netem::default()
    };
    assert_eq!(netem.to_wire(Write::Fresh).unwrap_err().what, "distributions");
}

fn any_probability() -> impl Strategy<Value = Probability> {
    any::<u32>().prop_map(Probability)
}

fn any_netem() -> impl Strategy<Value = Netem> {
    let loss = prop_oneof![
        any::<[u32; 2]>().prop_map(|[p, c]| Loss::Random {
            probability: Probability(p),
            correlation: Probability(c)
        }),
        any::<[u32; 4]>().prop_map(|v| {
            let [p, r, bad_loss, good_loss] = v.map(Probability);
            Loss::GilbertElliott { p, r, bad_loss, good_loss }
        }),
        any::<[u32; 5]>().prop_map(|v| {
            let [p13, p31, p32, p23, p14] = v.map(Probability);
            Loss::FourState { p13, p31, p32, p23, p14 }
        }),
    ];
    let rate = (1u64.., any::<i32>(), any::<u32>(), any::<i32>()).prop_map(|(rate, p, c, o)| {
        NetemRate { bytes_per_second: rate, packet_overhead: p, cell_size: c, cell_overhead: o }
    });
    (
        (1..=i32::MAX as u32, 1..1u64 << 50, 0..i32::MAX as u64),
        (any_probability(), any_probability(), any_probability()),
        loss,
        prop::option::of((1u32.., 1u32..)),
        prop::option::of(rate),
        prop::option::of(any::<u64>()),
    )
        .prop_map(
            |(
                (limit, latency, jitter),
                (delay_correlation, dup, corrupt),
                loss,
                reorder,
                rate,
                seed,
            )| {
                Netem {
                    limit,
                    latency: Duration::from_nanos(latency),
                    jitter: Duration::from_nanos(jitter),
                    delay_correlation,
                    loss,
                    duplicate: dup.into(),
                    corrupt: corrupt.into(),
                    reorder: reorder.map(|(p, gap)| Reorder { chance: Probability(p).into(), gap }),
                    rate,
                    seed,
                    ..Netem::default()
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_sent_compares_equal_and_can_be_stored(netem in any_netem()) {
        let wire = netem.to_wire(Write::Change).unwrap();
        let parsed = TcQdiscNetem::parse(to_bytes(&wire).as_slice()).unwrap();
        prop_assert_eq!(netem.compare(&parsed), ReadBack::default());
        let json = serde_json::to_string(&netem).unwrap();
        prop_assert_eq!(serde_json::from_str::<Netem>(&json).unwrap(), netem);
    }
}
