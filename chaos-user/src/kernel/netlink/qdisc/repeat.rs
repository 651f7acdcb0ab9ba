//! From the options of a dump to those of a request that leads to the same dump.
//!
//! For most kinds they are the same bytes. The exceptions were found by rehearsing.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, Nla as _, NlasIterator, Parseable as _,
};

use super::codec::{TcHtbGlob, TcQdiscHtb, TcQdiscHtbOption, to_bytes};

/// Attributes that are times: `TARGET`, `INTERVAL` and `CE_THRESHOLD`.
const CODEL_TIMES: [u16; 3] = [1, 3, 5];
const FQ_CODEL_TIMES: [u16; 3] = [1, 3, 7];

/// Places in sfq's `struct tc_sfq_qopt_v1`.
const SFQ_LIMIT: usize = 8;
const SFQ_FLOWS: usize = 16;
const SFQ_STATS: usize = 48;

/// The options of a dump as they have to be in a request.
pub(super) fn repeated(kind: &str, options: Option<&[u8]>) -> Option<Vec<u8>> {
    let options = options?;
    let edited = match kind {
        // Dumps tell another version than requests must.
        TcQdiscHtb::KIND => edit_htb(options, |glob| glob.version = TcHtbGlob::VERSION),
        "codel" => edit_times(options, CODEL_TIMES),
        "fq_codel" => edit_times(options, FQ_CODEL_TIMES),
        "sfq" => return Some(with_default_limit_of_sfq(options)),
        _ => return Some(options.to_vec()),
    };
    // What cannot be parsed is sent as it is, and judged by what comes of it.
    Some(edited.unwrap_or_else(|_| options.to_vec()))
}

/// The options of a dump without what changes by itself.
pub(super) fn without_counters(kind: &str, options: Vec<u8>) -> Vec<u8> {
    // htb counts there the packets that passed by its classes.
    let edited = match kind {
        TcQdiscHtb::KIND => edit_htb(&options, |glob| glob.direct_packets = 0),
        // And sfq what became of its packets (`struct tc_sfqred_stats`, 24 bytes at the end).
        "sfq" => {
            let mut options = options;
            options.iter_mut().skip(SFQ_STATS).for_each(|byte| *byte = 0);
            return options;
        }
        _ => return options,
    };
    edited.unwrap_or(options)
}

/// An sfq that was never given a limit has one of 127 packets for 128 flows. Sent with a limit of
/// 127 it would only have 127 flows; a limit of 0 means the default.
fn with_default_limit_of_sfq(options: &[u8]) -> Vec<u8> {
    const DEFAULT: [u8; 4] = 127u32.to_ne_bytes();
    let field = |at: usize| options.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let mut options = options.to_vec();
    if let (Some(DEFAULT), Some(flows)) = (field(SFQ_LIMIT), field(SFQ_FLOWS))
        && u32::from_ne_bytes(flows) > 127
    {
        options[SFQ_LIMIT..SFQ_LIMIT + 4].fill(0);
    }
    options
}

fn edit_htb(options: &[u8], edit: impl Fn(&mut TcHtbGlob)) -> Result<Vec<u8>, DecodeError> {
    let mut htb = TcQdiscHtb::parse(options)?;
    for option in &mut htb.options {
        if let TcQdiscHtbOption::Init(glob) = option {
            edit(glob);
        }
    }
    Ok(to_bytes(&htb))
}

fn edit_times(options: &[u8], times: [u16; 3]) -> Result<Vec<u8>, DecodeError> {
    let mut edited = Vec::with_capacity(options.len());
    for nla in NlasIterator::new(options) {
        let nla = nla?;
        let value = match <[u8; 4]>::try_from(nla.value()) {
            Ok(time) if times.contains(&nla.kind()) => {
                codel_request(u32::from_ne_bytes(time)).to_ne_bytes().to_vec()
            }
            _ => nla.value().to_vec(),
        };
        let nla = DefaultNla::new(DefaultNla::parse(&nla)?.kind(), value);
        let start = edited.len();
        edited.resize(start + nla.buffer_len(), 0);
        nla.emit(&mut edited[start..]);
    }
    Ok(edited)
}

/// CoDel keeps times in units of 1024 ns and rounds down both when it takes microseconds and when it
/// tells them: 5000 µs are told as 4999, which sent again would be told as 4998. This finds the
/// request that is told as `dumped`.
fn codel_request(dumped: u32) -> u32 {
    let told = |sent: u32| (u64::from(sent) * 1000 / 1024) * 1024 / 1000;
    let candidates = dumped..=dumped.saturating_add(2);
    candidates.rev().find(|sent| told(*sent) == u64::from(dumped)).unwrap_or(dumped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::netlink::qdisc::codec::hex;

    #[test]
    fn htb_is_stored_without_counters() {
        let dumped = hex("18000200 11000300 0a000000 10000000 00000000 07000000 08000500 e8030000");
        let stored = without_counters("htb", dumped);
        assert_eq!(
            stored,
            hex("18000200 11000300 0a000000 10000000 00000000 00000000 08000500 e8030000")
        );
        assert_eq!(without_counters("tbf", stored.clone()), stored);
    }

    #[test]
    fn htb_is_sent_with_the_version_of_requests() {
        let stored = hex("18000200 11000300 0a000000 10000000 00000000 00000000 08000500 e8030000");
        assert_eq!(
            repeated("htb", Some(&stored)),
            Some(hex("18000200 03000000 0a000000 10000000 00000000 00000000 08000500 e8030000"))
        );
        assert_eq!(repeated("tbf", Some(&stored)), Some(stored));
        assert_eq!(repeated("pfifo", None), None);
    }

    // tc qdisc show dev v0, after: tc qdisc add dev v0 root fq_codel     (Linux 6.12)
    #[test]
    fn times_of_codel_survive() {
        let dumped = hex("08000100 87130000 08000200 00280000 08000300 9f860100");
        let request = hex("08000100 88130000 08000200 00280000 08000300 a0860100");
        assert_eq!(repeated("fq_codel", Some(&dumped)), Some(request.clone()));
        assert_eq!(repeated("codel", Some(&dumped)), Some(request));
        let torn = &dumped[..10];
        assert_eq!(repeated("codel", Some(torn)), Some(torn.to_vec()));
    }

    // tc qdisc show dev v0, after: tc qdisc add dev v0 root sfq     (structure of Linux 6.12)
    #[test]
    fn the_default_limit_of_sfq_is_not_repeated() {
        let head = "ea050000 00000000 7f000000 00040000 80000000"; // limit 127, 128 flows
        let rest = "7f000000 00000000 00000000 00000000 00000000 00000000 00000000";
        let stats = "01000000 02000000 03000000 04000000 05000000 06000000";
        let zeros = "00000000 00000000 00000000 00000000 00000000 00000000";
        let stored = without_counters("sfq", hex(&[head, rest, stats].concat()));
        assert_eq!(stored, hex(&[head, rest, zeros].concat()));
        let sent = head.replace("7f000000", "00000000");
        assert_eq!(repeated("sfq", Some(&stored)), Some(hex(&[&sent, rest, zeros].concat())));
        let limited = hex(&[&head.replace("80000000", "7f000000"), rest, zeros].concat());
        assert_eq!(repeated("sfq", Some(&limited)), Some(limited));
    }

    proptest! {
        #[test]
        fn what_codel_told_it_tells_again(sent in 0u32..100_000_000) {
            let told = |sent: u32| ((((u64::from(sent) * 1000) >> 10) << 10) / 1000) as u32;
            prop_assert_eq!(told(codel_request(told(sent))), told(sent));
        }

        #[test]
        fn random_options_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for kind in ["htb", "codel", "fq_codel", "fq", "sfq"] {
                let _ = repeated(kind, Some(&bytes));
                let _ = without_counters(kind, bytes.clone());
            }
        }
    }
}
