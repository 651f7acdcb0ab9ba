//! Bytes captured from iproute2 6.1.0 with
//! `strace -e sendmsg -xx tc qdisc add dev v0 root handle 1: netem …` (the value of `TCA_OPTIONS`),
//! on a veth made by `ip link add v0 type veth peer name v1`.

use netlink_packet_core::{DefaultNla, Parseable as _};
use proptest::prelude::*;

use super::*;
use crate::kernel::netlink::qdisc::codec::{TcNetemGeModel, TcNetemGiModel, hex, to_bytes};

fn both_ways(raw: &str, want: &TcQdiscNetem) {
    let raw = hex(raw);
    assert_eq!(&TcQdiscNetem::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(want), raw);
}

const LIMIT: TcNetemQopt =
    TcNetemQopt { latency: 0, limit: 1000, loss: 0, gap: 0, duplicate: 0, jitter: 0 };

fn head(options: Vec<TcQdiscNetemOption>) -> TcQdiscNetem {
    TcQdiscNetem::new(LIMIT, options)
}

// netem delay 100ms
#[test]
fn delay() {
    both_ways(
        "84d71700 e8030000 00000000 00000000 00000000 00000000",
        &TcQdiscNetem::new(TcNetemQopt { latency: 1_562_500, ..LIMIT }, vec![]),
    );
}

// netem delay 10ms 5s
#[test]
fn jitter() {
    both_ways(
        "5a620200 e8030000 00000000 00000000 00000000 c817a804",
        &TcQdiscNetem::new(TcNetemQopt { latency: 156_250, jitter: 78_125_000, ..LIMIT }, vec![]),
    );
}

// netem delay 100ms 10ms 25% loss 5% 20% duplicate 1% corrupt 0.1% reorder 25% 50% limit 1000
#[test]
fn everything_classic() {
    both_ways(
        "84d71700 e8030000 cdcccc0c 01000000 295c8f02 5a620200
         10000100 00000040 33333333 00000000
         0c000300 00000040 00000080
         0c000400 37894100 00000000",
        &TcQdiscNetem::new(
            TcNetemQopt {
                latency: 1_562_500,
                limit: 1000,
                loss: 0x0ccc_cccd,
                gap: 1,
                duplicate: 0x028f_5c29,
                jitter: 156_250,
            },
            vec![
                TcQdiscNetemOption::Corr(TcNetemCorr {
                    delay: 0x4000_0000,
                    loss: 0x3333_3333,
                    duplicate: 0,
                }),
                TcQdiscNetemOption::Reorder(TcNetemReorder {
                    probability: 0x4000_0000,
                    correlation: 0x8000_0000,
                }),
                TcQdiscNetemOption::Corrupt(TcNetemCorrupt {
                    probability: 0x0041_8937,
                    correlation: 0,
                }),
            ],
        ),
    );
}

// netem delay 10ms reorder 25% gap 5
#[test]
fn reorder_with_gap() {
    both_ways(
        "5a620200 e8030000 00000000 05000000 00000000 00000000
         0c000300 00000040 00000000",
        &TcQdiscNetem::new(
            TcNetemQopt { latency: 156_250, gap: 5, ..LIMIT },
            vec![TcQdiscNetemOption::Reorder(TcNetemReorder {
                probability: 0x4000_0000,
                correlation: 0,
            })],
        ),
    );
}

// netem loss gemodel 1% 10% 70% 0.1%
#[test]
fn gilbert_elliott() {
    both_ways(
        "00000000 e8030000 00000000 00000000 00000000 00000000
         18000580 14000200 295c8f02 9a999919 cdcccc4c 37894100",
        &head(vec![TcQdiscNetemOption::Loss(vec![TcNetemLoss::Ge(TcNetemGeModel {
            p: 0x028f_5c29,
            r: 0x1999_999a,
            h: 0x4ccc_cccd,
            k1: 0x0041_8937,
        })])]),
    );
}

// netem loss state 1% 10% 20% 30% 5%        (p13 p31 p32 p23 p14)
#[test]
fn four_states() {
    both_ways(
        "00000000 e8030000 00000000 00000000 00000000 00000000
         1c000580 18000100 295c8f02 9a999919 33333333 cdcccc0c cccccc4c",
        &head(vec![TcQdiscNetemOption::Loss(vec![TcNetemLoss::Gi(TcNetemGiModel {
            p13: 0x028f_5c29,
            p31: 0x1999_999a,
            p32: 0x3333_3333,
            p14: 0x0ccc_cccd,
            p23: 0x4ccc_cccc,
        })])]),
    );
}

// netem loss random 5% ecn
#[test]
fn loss_with_ecn() {
    both_ways(
        "00000000 e8030000 cdcccc0c 00000000 00000000 00000000
         08000700 01000000",
        &TcQdiscNetem::new(
            TcNetemQopt { loss: 0x0ccc_cccd, ..LIMIT },
            vec![TcQdiscNetemOption::Ecn(1)],
        ),
    );
}

// netem rate 10mbit 20 100 5
#[test]
fn rate_with_overhead() {
    both_ways(
        "00000000 e8030000 00000000 00000000 00000000 00000000
         14000600 d0121300 14000000 64000000 05000000",
        &head(vec![TcQdiscNetemOption::Rate(TcNetemRate {
            rate: 1_250_000,
            packet_overhead: 20,
            cell_size: 100,
            cell_overhead: 5,
        })]),
    );
}

// netem rate 100gbit -14
#[test]
fn rate_beyond_32_bits() {
    both_ways(
        "00000000 e8030000 00000000 00000000 00000000 00000000
         0c000800 00dd0ee9 02000000
         14000600 ffffffff f2ffffff 00000000 00000000",
        &head(vec![
            TcQdiscNetemOption::Rate64(12_500_000_000),
            TcQdiscNetemOption::Rate(TcNetemRate {
                rate: u32::MAX,
                packet_overhead: -14,
                cell_size: 0,
                cell_overhead: 0,
            }),
        ]),
    );
}

// netem slot 800us 1ms packets 20 bytes 64000
#[test]
fn slots() {
    both_ways(
        "00000000 e8030000 00000000 00000000 00000000 00000000
         2c000c00 00350c0000000000 40420f0000000000 14000000 00fa0000
         0000000000000000 0000000000000000",
        &head(vec![TcQdiscNetemOption::Slot(TcNetemSlot {
            min_delay: 800_000,
            max_delay: 1_000_000,
            max_packets: 20,
            max_bytes: 64_000,
            dist_delay: 0,
            dist_jitter: 0,
        })]),
    );
}

// netem slot distribution pareto 800us 200us packets 20
// The table that follows (`04200d00`, 8192 bytes from a file) is cut to its first four entries.
#[test]
fn slot_distribution() {
    both_ways(
        "00000000 e8030000 00000000 00000000 00000000 00000000
         2c000c00 0000000000000000 0000000000000000 14000000 00000000
         00350c0000000000 400d030000000000
         0c000d00 abea acea acea adea",
        &head(vec![
            TcQdiscNetemOption::Slot(TcNetemSlot {
                max_packets: 20,
                dist_delay: 800_000,
                dist_jitter: 200_000,
                ..TcNetemSlot::default()
            }),
            TcQdiscNetemOption::SlotDist(vec![-5461, -5460, -5460, -5459]),
        ]),
    );
}

// Dumped by Debian's 6.12 after
//   netem delay 250ms 10ms 25% loss 5% 20% duplicate 1% corrupt 0.1% reorder 100% 50% limit 1000
// had been set with a latency of 64 bits and a seed of 42.
#[test]
fn dump_of_linux_6_12() {
    both_ways(
        "ca9a3b00 e8030000 cdcccc0c 01000000 295c8f02 5a620200
         0c000a00 80b2e60e00000000
         0c000b00 8096980000000000
         10000100 00000040 33333333 00000000
         0c000300 ffffffff 00000080
         0c000400 37894100 00000000
         14000600 00000000 00000000 00000000 00000000
         0c000e00 2a00000000000000",
        &TcQdiscNetem::new(
            TcNetemQopt {
                latency: 3_906_250,
                limit: 1000,
                loss: 0x0ccc_cccd,
                gap: 1,
                duplicate: 0x028f_5c29,
                jitter: 156_250,
            },
            vec![
                TcQdiscNetemOption::Latency64(250_000_000),
                TcQdiscNetemOption::Jitter64(10_000_000),
                TcQdiscNetemOption::Corr(TcNetemCorr {
                    delay: 0x4000_0000,
                    loss: 0x3333_3333,
                    duplicate: 0,
                }),
                TcQdiscNetemOption::Reorder(TcNetemReorder {
                    probability: u32::MAX,
                    correlation: 0x8000_0000,
                }),
                TcQdiscNetemOption::Corrupt(TcNetemCorrupt {
                    probability: 0x0041_8937,
                    correlation: 0,
                }),
                TcQdiscNetemOption::Rate(TcNetemRate::default()),
                TcQdiscNetemOption::PrngSeed(42),
            ],
        ),
    );
}

#[test]
fn options_travel_as_one_attribute_of_bytes() {
    let TcAttribute::Other(nla) = TcAttribute::from(&head(vec![])) else {
        panic!("the options must not get a header of their own");
    };
    assert_eq!((nla.kind(), nla.value_len()), (2, 24));
}

#[test]
fn a_table_of_odd_length_is_refused() {
    let mut raw = to_bytes(&head(vec![]));
    raw.extend(hex("07000200 010203 00"));
    assert!(TcQdiscNetem::parse(raw.as_slice()).is_err());
}

fn any_loss() -> impl Strategy<Value = TcNetemLoss> {
    prop_oneof![
        any::<[u32; 5]>().prop_map(|[p13, p31, p32, p14, p23]| TcNetemLoss::Gi(TcNetemGiModel {
            p13,
            p31,
            p32,
            p14,
            p23
        })),
        any::<[u32; 4]>().prop_map(|[p, r, h, k1]| TcNetemLoss::Ge(TcNetemGeModel { p, r, h, k1 })),
        (3u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(kind, value)| TcNetemLoss::Other(DefaultNla::new(kind, value))),
    ]
}

fn any_option() -> impl Strategy<Value = TcQdiscNetemOption> {
    use TcQdiscNetemOption as O;
    let table = || prop::collection::vec(any::<i16>(), 0..300);
    prop_oneof![
        any::<[u32; 3]>().prop_map(|[delay, loss, duplicate]| O::Corr(TcNetemCorr {
            delay,
            loss,
            duplicate
        })),
        table().prop_map(O::DelayDist),
        any::<[u32; 2]>().prop_map(|[probability, correlation]| O::Reorder(TcNetemReorder {
            probability,
            correlation
        })),
        any::<[u32; 2]>().prop_map(|[probability, correlation]| O::Corrupt(TcNetemCorrupt {
            probability,
            correlation
        })),
        prop::collection::vec(any_loss(), 0..3).prop_map(O::Loss),
        any::<(u32, i32, u32, i32)>().prop_map(
            |(rate, packet_overhead, cell_size, cell_overhead)| O::Rate(TcNetemRate {
                rate,
                packet_overhead,
                cell_size,
                cell_overhead
            })
        ),
        any::<u32>().prop_map(O::Ecn),
        any::<u64>().prop_map(O::Rate64),
        any::<i64>().prop_map(O::Latency64),
        any::<i64>().prop_map(O::Jitter64),
        any::<([i64; 4], [i32; 2])>().prop_map(|([a, b, c, d], [packets, bytes])| O::Slot(
            TcNetemSlot {
                min_delay: a,
                max_delay: b,
                max_packets: packets,
                max_bytes: bytes,
                dist_delay: c,
                dist_jitter: d
            }
        )),
        table().prop_map(O::SlotDist),
        any::<u64>().prop_map(O::PrngSeed),
        (15u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(kind, value)| O::Other(DefaultNla::new(kind, value))),
    ]
}

proptest! {
    #[test]
    fn what_is_emitted_parses_back(
        [latency, limit, loss, gap, duplicate, jitter]: [u32; 6],
        options in prop::collection::vec(any_option(), 0..8),
    ) {
        let qopt = TcNetemQopt { latency, limit, loss, gap, duplicate, jitter };
        let want = TcQdiscNetem::new(qopt, options);
        prop_assert_eq!(TcQdiscNetem::parse(to_bytes(&want).as_slice()).unwrap(), want);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = TcQdiscNetem::parse(bytes.as_slice());
    }

    #[test]
    fn random_attributes_do_not_panic(
        attributes in prop::collection::vec(
            (0u16..20, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        let mut bytes = vec![0; QOPT_LEN];
        for (kind, value) in attributes {
            bytes.extend(to_bytes(&DefaultNla::new(kind, value)));
        }
        let _ = TcQdiscNetem::parse(bytes.as_slice());
    }
}
