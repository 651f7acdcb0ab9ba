//! Bytes captured from iproute2 6.1.0 with
//! `strace -e sendmsg -xx tc qdisc add dev v0 root handle 1: tbf …` (the value of `TCA_OPTIONS`).
//! `tc` still sends rate tables of 256 times; they are written here as the formula they follow.

use proptest::prelude::*;

use super::*;
use crate::kernel::netlink::qdisc::codec::{hex, to_bytes};

fn rate_table(ticks_per_cell: u32) -> Vec<u8> {
    (1..=256).flat_map(|cell: u32| (cell * ticks_per_cell).to_ne_bytes()).collect()
}

fn rate(bytes_per_second: u32) -> TcRateSpec {
    TcRateSpec { cell_log: 3, cell_align: -1, ..TcRateSpec::ethernet(bytes_per_second.into()) }
}

// tbf rate 1mbit burst 32kbit latency 400ms
#[test]
fn golden_bytes_both_ways() {
    let mut raw =
        hex("28000100 03010000ffff000048e80100 000000000000000000000000 50d30000 00d00700 00000000
         08000600 00100000
         04040200");
    raw.extend(rate_table(1000));
    let want = TcQdiscTbf::new(vec![
        TcQdiscTbfOption::Parms(TcTbfQopt {
            rate: rate(125_000),
            peak_rate: TcRateSpec::default(),
            limit: 54_096,
            buffer: 512_000,
            mtu: 0,
        }),
        TcQdiscTbfOption::Burst(4096),
        TcQdiscTbfOption::Rtab(rate_table(1000)),
    ]);
    assert_eq!(TcQdiscTbf::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(&want), raw);
}

// tbf rate 1mbit burst 32kbit limit 3000 peakrate 2mbit mtu 1540
#[test]
fn golden_bytes_with_a_peak_rate() {
    let mut raw =
        hex("28000100 03010000ffff000048e80100 03010000ffff000090d00300 b80b0000 00d00700 fa770100
         08000600 00100000
         04040200");
    raw.extend(rate_table(1000));
    raw.extend(hex("08000700 04060000 04040300"));
    raw.extend(rate_table(500));
    let want = TcQdiscTbf::new(vec![
        TcQdiscTbfOption::Parms(TcTbfQopt {
            rate: rate(125_000),
            peak_rate: rate(250_000),
            limit: 3000,
            buffer: 512_000,
            mtu: 96_250,
        }),
        TcQdiscTbfOption::Burst(4096),
        TcQdiscTbfOption::Rtab(rate_table(1000)),
        TcQdiscTbfOption::PeakBurst(1540),
        TcQdiscTbfOption::Ptab(rate_table(500)),
    ]);
    assert_eq!(TcQdiscTbf::parse(raw.as_slice()).unwrap(), want);
    assert_eq!(to_bytes(&want), raw);
}

// tbf rate 40gbit burst 1mb limit 1mb
#[test]
fn golden_bytes_beyond_32_bits() {
    let mut raw =
        hex("28000100 03010000ffff0000ffffffff 000000000000000000000000 00001000 e40e0000 00000000
         08000600 00001000
         0c000400 00f2052a01000000
         04040200");
    raw.extend(rate_table(0));
    let want = TcQdiscTbf::new(vec![
        TcQdiscTbfOption::Parms(TcTbfQopt {
            rate: rate(u32::MAX),
            peak_rate: TcRateSpec::default(),
            limit: 1 << 20,
            buffer: 3812,
            mtu: 0,
        }),
        TcQdiscTbfOption::Burst(1 << 20),
        TcQdiscTbfOption::Rate64(5_000_000_000),
        TcQdiscTbfOption::Rtab(rate_table(0)),
    ]);
    assert_eq!(TcQdiscTbf::parse(raw.as_slice()).unwrap(), want);
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

fn any_option() -> impl Strategy<Value = TcQdiscTbfOption> {
    use TcQdiscTbfOption as O;
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        (any_rate(), any_rate(), any::<[u32; 3]>()).prop_map(
            |(rate, peak_rate, [limit, buffer, mtu])| O::Parms(TcTbfQopt {
                rate,
                peak_rate,
                limit,
                buffer,
                mtu
            })
        ),
        bytes().prop_map(O::Rtab),
        bytes().prop_map(O::Ptab),
        any::<u64>().prop_map(O::Rate64),
        any::<u64>().prop_map(O::PeakRate64),
        any::<u32>().prop_map(O::Burst),
        any::<u32>().prop_map(O::PeakBurst),
        (8u16..0x3fff, bytes()).prop_map(|(kind, v)| O::Other(DefaultNla::new(kind, v))),
    ]
}

proptest! {
    #[test]
    fn what_is_emitted_parses_back(options in prop::collection::vec(any_option(), 0..8)) {
        let want = TcQdiscTbf::new(options);
        prop_assert_eq!(TcQdiscTbf::parse(to_bytes(&want).as_slice()).unwrap(), want);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = TcQdiscTbf::parse(bytes.as_slice());
    }

    #[test]
    fn random_attributes_do_not_panic(
        kind in 0u16..12,
        value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = TcQdiscTbf::parse(to_bytes(&DefaultNla::new(kind, value)).as_slice());
    }
}
