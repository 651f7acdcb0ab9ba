//! Every attribute of netem, applied and read back. Needs sch_netem.

use std::time::Duration;

use chaos::kernel::netlink::qdisc::TcSocket;
use chaos::kernel::netlink::qdisc::{
    Chance, Distribution, DistributionTable, Handle, Loss, Netem, NetemRate, NotRestorable, Place,
    Probability, QdiscError, QdiscSpec, Reorder, Restore, RootQdisc, Slot, SlotSpacing,
    Unconfirmed,
};

use crate::support::{Bench, has, skip};

fn percent(percent: f64) -> Probability {
    Probability::from_percent(percent).unwrap()
}

fn chance(probability: f64, correlation: f64) -> Chance {
    Chance { probability: percent(probability), correlation: percent(correlation) }
}

fn with_netem(test: &str, work: impl FnOnce(&mut TcSocket, u32) + Send) {
    Bench::run(|tc, device| if has(tc, "netem") { work(tc, device) } else { skip(test, "netem") });
}

fn set(change: impl FnOnce(&mut Netem)) -> Netem {
    let mut netem = Netem::default();
    change(&mut netem);
    netem
}

/// One setting for each attribute, and some for all of them.
fn settings() -> Vec<(&'static str, Netem)> {
    let ms = Duration::from_millis;
    let slot = |spacing| Some(Slot { spacing, max_packets: Some(20), max_bytes: None });
    vec![
        ("nothing", Netem::default()),
        ("limit", set(|n| n.limit = 17)),
        ("delay", Netem::delay(ms(100))),
        ("one nanosecond", Netem::delay(Duration::from_nanos(1))),
        ("beyond the ticks", Netem::delay(Duration::from_mins(5))),
        (
            "jitter",
            set(|n| {
                (n.latency, n.jitter, n.delay_correlation) = (ms(100), ms(10), percent(25.0));
            }),
        ),
        ("longest jitter", set(|n| n.jitter = Duration::from_nanos(i32::MAX as u64))),
        ("loss", set(|n| n.loss = Loss::random(percent(5.0)))),
        (
            "correlated loss",
            set(|n| {
                n.loss = Loss::Random { probability: percent(5.0), correlation: percent(20.0) };
            }),
        ),
        (
            "four states",
            set(|n| {
                n.loss = Loss::FourState {
                    p13: percent(1.0),
                    p31: percent(10.0),
                    p32: percent(20.0),
                    p23: percent(30.0),
                    p14: percent(5.0),
                };
            }),
        ),
        (
            "gilbert-elliott with ecn",
            set(|n| {
                n.loss = Loss::GilbertElliott {
                    p: percent(1.0),
                    r: percent(10.0),
                    bad_loss: percent(70.0),
                    good_loss: percent(0.1),
                };
                n.ecn = true;
            }),
        ),
        ("duplicate", set(|n| n.duplicate = chance(1.0, 10.0))),
        ("corrupt", set(|n| n.corrupt = chance(0.1, 5.0))),
        (
            "reorder",
            set(|n| {
                n.latency = ms(10);
                n.reorder = Some(Reorder { chance: chance(25.0, 50.0), gap: 5 });
            }),
        ),
        (
            "rate with overhead",
            set(|n| {
                n.rate = Some(NetemRate {
                    bytes_per_second: 1_250_000,
                    packet_overhead: -14,
                    cell_size: 53,
                    cell_overhead: 5,
                });
            }),
        ),
        ("rate of 64 bits", set(|n| n.rate = Some(NetemRate::new(12_500_000_000)))),
        (
            "slots",
            set(|n| {
                n.slot = slot(SlotSpacing::Between { min: Duration::from_micros(800), max: ms(1) });
            }),
        ),
        (
            "distributed slots",
            set(|n| {
                n.slot = slot(SlotSpacing::Distributed {
                    delay: ms(5),
                    jitter: ms(1),
                    distribution: Distribution::Normal,
                });
            }),
        ),
        (
            "everything",
            set(|n| {
                (n.latency, n.jitter, n.delay_correlation) = (ms(100), ms(10), percent(25.0));
                n.distribution = Distribution::ParetoNormal;
                n.loss = Loss::Random { probability: percent(5.0), correlation: percent(20.0) };
                n.ecn = true;
                n.duplicate = chance(1.0, 2.0);
                n.corrupt = chance(0.1, 3.0);
                n.reorder = Some(Reorder { chance: chance(25.0, 50.0), gap: 3 });
                n.rate = Some(NetemRate::new(125_000_000));
                n.slot = slot(SlotSpacing::Between { min: ms(1), max: ms(2) });
            }),
        ),
        ("nothing again", Netem::default()),
    ]
}

#[test]
fn every_attribute_is_read_back() {
    with_netem("every_attribute_is_read_back", |tc, device| {
        for (what, netem) in settings() {
            let place = Place::root(device, Handle::qdisc(1));
            tc.add(place, &netem.into()).unwrap_or_else(|error| panic!("{what}: {error}"));
            tc.delete(place).unwrap();
        }
    });
}

#[test]
fn nothing_survives_a_change() {
    // Each setting replaces the one before on the same qdisc, which the kernel merges.
    with_netem("nothing_survives_a_change", |tc, device| {
        let place = Place::root(device, Handle::qdisc(1));
        tc.add(place, &Netem::default().into()).unwrap();
        for (what, netem) in settings() {
            let spec = QdiscSpec::from(netem);
            tc.change(place, &spec).unwrap_or_else(|error| panic!("change to {what}: {error}"));
        }
        for (what, netem) in settings().into_iter().rev() {
            let spec = QdiscSpec::from(netem);
            tc.replace(place, &spec).unwrap_or_else(|error| panic!("replace by {what}: {error}"));
        }
    });
}

#[test]
fn a_seed_is_kept_or_reported() {
    with_netem("a_seed_is_kept_or_reported", |tc, device| {
        let netem = set(|n| n.seed = Some(42));
        let applied = tc.add(Place::root(device, Handle::qdisc(1)), &netem.into()).unwrap();
        let release = nix::sys::utsname::uname().unwrap();
        let release = release.release().to_str().unwrap().to_owned();
        let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        match applied.unconfirmed.as_slice() {
            [] => assert!(version >= (6, 6), "{release} cannot know the seed"),
            [Unconfirmed::Ignored { what, wanted, .. }] => {
                assert!(version < (6, 6), "{release} ignored the seed");
                assert_eq!((what.as_str(), wanted.as_str()), ("seed", "42"));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn tables_are_accepted() {
    with_netem("tables_are_accepted", |tc, device| {
        let ramp = (0..16384).map(|i| (i - 8192) as i16).collect();
        for distribution in [
            Distribution::Normal,
            Distribution::Pareto,
            Distribution::ParetoNormal,
            Distribution::Custom(DistributionTable::new(vec![0]).unwrap()),
            Distribution::Custom(DistributionTable::new(ramp).unwrap()),
        ] {
            let netem = set(|n| {
                n.latency = Duration::from_millis(10);
                n.jitter = Duration::from_millis(1);
                n.distribution = distribution;
            });
            let place = Place::root(device, Handle::qdisc(1));
            let applied = tc.replace(place, &netem.into()).unwrap();
            assert!(
                matches!(applied.unconfirmed.as_slice(), [Unconfirmed::NeverDumped { .. }]),
                "{:?}",
                applied.unconfirmed
            );
        }
    });
}

#[test]
fn a_netem_of_somebody_else_comes_back_unless_it_has_jitter() {
    with_netem("a_netem_of_somebody_else_comes_back_unless_it_has_jitter", |tc, device| {
        let place = Place::root(device, Handle::qdisc(0x8001));
        for (what, netem) in settings() {
            let table_matters = !netem.jitter.is_zero()
                || matches!(
                    netem.slot,
                    Some(Slot { spacing: SlotSpacing::Distributed { .. }, .. })
                );
            tc.add(place, &netem.into()).unwrap();
            let before = RootQdisc::snapshot(tc, device).unwrap();
            if table_matters {
                let handle = place.handle;
                assert_eq!(
                    before.restorable(),
                    Err(NotRestorable::UnknownTable { handle }),
                    "{what}"
                );
            } else {
                assert_eq!(before.restorable(), Ok(Restore::ByAdding), "{what}");
                tc.replace(Place::root(device, before.free_handle()), &Netem::default().into())
                    .unwrap();
                before.restore(tc).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            tc.delete(place).unwrap();
        }
    });
}

#[test]
fn a_wrong_parent_is_no_missing_module() {
    with_netem("a_wrong_parent_is_no_missing_module", |tc, device| {
        let place = Place { device, parent: Handle::new(7, 1), handle: Handle::qdisc(1) };
        let error = tc.add(place, &Netem::default().into()).unwrap_err();
        assert!(matches!(error, QdiscError::Refused { .. }), "{error:?}");
    });
}
