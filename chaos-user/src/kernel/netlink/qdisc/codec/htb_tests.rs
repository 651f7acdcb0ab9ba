//! Bytes captured from iproute2 6.1.0 with `strace -e sendmsg -xx tc …` and, for dumps, with
//! `strace -e recvmsg -xx tc … show` on Linux 6.18 (the value of `TCA_OPTIONS`).

use proptest::prelude::*;

use super::*;
use crate::kernel::netlink::qdisc::codec::{hex, to_bytes};

// tc qdisc add dev v0 root handle 1: htb default 10 r2q 5
#[test]
fn golden_bytes_of_the_qdisc() {
    let raw = hex("18000200 03000000 05000000 10000000 00000000 00000000");
    let want = TcQdiscHtb::new(vec![TcQdiscHtbOption::Init(TcHtbGlob {
        version: TcHtbGlob::VERSION,
        rate2quantum: 5,
        default_class: 0x10,
        debug: 0,
        direct_packets: 0,
    })]);
    assert_eq!(TcQdiscHtb::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(&want), raw);
}

// tc qdisc show dev v0, after: tc qdisc add dev v0 root handle 1: htb default 10
#[test]
fn dump_of_the_qdisc() {
    let raw = hex("18000200 11000300 0a000000 10000000 00000000 00000000 08000500 e8030000");
    let want = TcQdiscHtb::new(vec![
        TcQdiscHtbOption::Init(TcHtbGlob {
            version: 0x30011,
            rate2quantum: 10,
            default_class: 0x10,
            debug: 0,
            direct_packets: 0,
        }),
        TcQdiscHtbOption::DirectQlen(1000),
    ]);
    assert_eq!(TcQdiscHtb::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(&want), raw);
}

// tc class add dev v0 parent 1: classid 1:11 htb rate 50gbit quantum 60000 prio 3
#[test]
fn golden_bytes_of_a_class() {
    let mut raw = hex("0c000600 806e877401000000
         0c000700 806e877401000000
         30000100 03010000ffff0000ffffffff 03010000ffff0000ffffffff
         00000000 00000000 60ea0000 00000000 03000000
         04040400");
    let table = vec![0; 1024];
    raw.extend(&table);
    raw.extend(hex("04040300"));
    raw.extend(&table);
    let rate = TcRateSpec { cell_log: 3, cell_align: -1, ..TcRateSpec::ethernet(u64::MAX) };
    let want = TcClassHtb::new(vec![
        TcQdiscHtbOption::Rate64(6_250_000_000),
        TcQdiscHtbOption::Ceil64(6_250_000_000),
        TcQdiscHtbOption::Parms(TcHtbOpt {
            rate,
            ceil: rate,
            quantum: 60_000,
            prio: 3,
            ..TcHtbOpt::default()
        }),
        TcQdiscHtbOption::Rtab(table.clone()),
        TcQdiscHtbOption::Ctab(table),
    ]);
    assert_eq!(TcClassHtb::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(&want), raw);
}

// tc class show dev v0, after:
//      tc class add dev v0 parent 1: classid 1:10 htb rate 100mbit ceil 1gbit
#[test]
fn dump_of_a_class() {
    let raw = hex("30000100 000100000000000020bcbe00 000100000000000040597307
         d0070000 bb000000 400d0300 00000000 00000000");
    let want = TcClassHtb::new(vec![TcQdiscHtbOption::Parms(TcHtbOpt {
        rate: TcRateSpec::ethernet(12_500_000),
        ceil: TcRateSpec::ethernet(125_000_000),
        buffer: 2000,
        cbuffer: 187,
        quantum: 200_000,
        level: 0,
        prio: 0,
    })]);
    assert_eq!(TcClassHtb::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(&want), raw);
}

fn any_rate() -> impl Strategy<Value = TcRateSpec> {
    any::<(u8, u8, u16, i16, u16, u32)>().prop_map(
        |(cell_log, link_layer, overhead, cell_align, mpu, rate)| TcRateSpec {
            cell_log,
            link_layer,
            overhead,
            cell_align,
            mpu,
            rate,
        },
    )
}

fn any_option() -> impl Strategy<Value = TcQdiscHtbOption> {
    use TcQdiscHtbOption as O;
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        (any_rate(), any_rate(), any::<[u32; 5]>()).prop_map(
            |(rate, ceil, [buffer, cbuffer, quantum, level, prio])| O::Parms(TcHtbOpt {
                rate,
                ceil,
                buffer,
                cbuffer,
                quantum,
                level,
                prio
            })
        ),
        any::<[u32; 5]>().prop_map(
            |[version, rate2quantum, default_class, debug, direct_packets]| O::Init(TcHtbGlob {
                version,
                rate2quantum,
                default_class,
                debug,
                direct_packets
            })
        ),
        bytes().prop_map(O::Ctab),
        bytes().prop_map(O::Rtab),
        any::<u32>().prop_map(O::DirectQlen),
        any::<u64>().prop_map(O::Rate64),
        any::<u64>().prop_map(O::Ceil64),
        Just(O::Offload),
        (10u16..0x3fff, bytes()).prop_map(|(kind, v)| O::Other(DefaultNla::new(kind, v))),
    ]
}

proptest! {
    #[test]
    fn what_is_emitted_parses_back(options in prop::collection::vec(any_option(), 0..8)) {
        let qdisc = TcQdiscHtb::new(options.clone());
        prop_assert_eq!(TcQdiscHtb::parse(to_bytes(&qdisc).as_slice()).unwrap(), qdisc);
        let class = TcClassHtb::new(options);
        prop_assert_eq!(TcClassHtb::parse(to_bytes(&class).as_slice()).unwrap(), class);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = TcQdiscHtb::parse(bytes.as_slice());
        let _ = TcClassHtb::parse(bytes.as_slice());
    }

    #[test]
    fn random_attributes_do_not_panic(
        kind in 0u16..12,
        value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = TcQdiscHtb::parse(to_bytes(&DefaultNla::new(kind, value)).as_slice());
    }
}
