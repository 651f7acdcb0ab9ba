//! What reads input that this program did not write, each as one function that takes any bytes.
//!
//! `fuzz/` gives them to libFuzzer; the tests here give them the corpus, mutated, on every run of the
//! suite. None may panic, hang, or take memory without bound.

use std::path::Path;

use chaos_common::event::Event as KernelEvent;
use netlink_packet_core::Parseable as _;
use zerocopy::FromBytes as _;

use crate::experiment::units::{Direction, Percent, PortRange, Prefix, Protocol, Rate, Span};
use crate::experiment::{Experiment, UnitError};
use crate::guard::{Approval, Blackout, Environment, Policy, Window};
use crate::host::SshSession;
use crate::kernel::netlink::qdisc::codec::{
    TcClassHtb, TcQdiscHtb, TcQdiscNetem, TcQdiscPrio, TcQdiscTbf,
};
use crate::kernel::netlink::qdisc::{self, TcRecord};
use crate::kernel::netlink::sockets;
use crate::lab::LabSpec;
use crate::plan::{Errno, Protect};
use crate::run::Event;

/// Something that reads bytes of others.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus and of its binary in `fuzz/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("experiment", experiment),
    ("lab", lab),
    ("policy", policy),
    ("journal", journal),
    ("netlink", netlink),
    ("events", events),
    ("units", units),
];

/// An experiment file.
pub fn experiment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Experiment::parse(text, Path::new("fuzz")) {
        assert!(!error.to_string().is_empty());
    }
}

/// A lab file.
pub fn lab(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = LabSpec::parse(text, Path::new("fuzz")) {
        assert!(!error.to_string().is_empty());
    }
}

/// A policy or an approval.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Policy::parse(text, Path::new("fuzz"));
    let _ = Approval::parse(text, Path::new("fuzz"));
}

/// A journal.
pub fn journal(bytes: &[u8]) {
    crate::fault::fuzz_journal(bytes);
}

/// What the kernel sends over netlink: datagrams, records, and the options of qdiscs.
pub fn netlink(bytes: &[u8]) {
    qdisc::fuzz(bytes);
    sockets::fuzz(bytes);
    let _ = TcRecord::parse(bytes);
    let _ = TcQdiscNetem::parse(bytes);
    let _ = TcQdiscHtb::parse(bytes);
    let _ = TcClassHtb::parse(bytes);
    let _ = TcQdiscPrio::parse(bytes);
    let _ = TcQdiscTbf::parse(bytes);
}

/// Events: of the kernel side, and lines of a log.
pub fn events(bytes: &[u8]) {
    if let Ok((event, _)) = KernelEvent::read_from_prefix(bytes) {
        let _ = crate::fault::event_end(event.local, event.local_port, event.family);
        let _ = crate::fault::event_end(event.remote, event.remote_port, event.family);
    }
    let lines = bytes.split(|&byte| byte == b'\n');
    let events: Vec<Event> = lines.map_while(|line| serde_json::from_slice(line).ok()).collect();
    let Some(findings) = crate::verdict::judge(&events) else { return };
    let _ = crate::report::terminal(&findings);
    let _ = crate::report::markdown(&findings);
    let _ = crate::report::journal(&events, &findings);
}

/// What is typed: quantities, addresses, times.
pub fn units(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    again::<Span>(text);
    again::<Percent>(text);
    again::<Rate>(text);
    again::<PortRange>(text);
    again::<Prefix>(text);
    again::<Protocol>(text);
    again::<Direction>(text);
    let _ = text.parse::<Errno>();
    let _ = text.parse::<Protect>();
    let _ = text.parse::<Window>();
    let _ = text.parse::<Blackout>();
    let _ = text.parse::<Environment>();
    let _ = SshSession::parse(text);
}

/// What reads is shown in a way that reads the same.
fn again<T>(text: &str)
where
    T: std::str::FromStr<Err = UnitError> + std::fmt::Display + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert!(shown.parse::<T>().is_ok_and(|read| read == value), "{text:?}: {shown:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use nix::time::{ClockId, clock_gettime};

    use super::*;

    /// The most processor time that one input may take, unoptimised.
    const MOST: Duration = Duration::from_secs(5);

    fn worked() -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
    }
    const MUTANTS: u64 = 300;

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// splitmix64, so that a seed repeats a run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound.max(1) as u64) as usize
        }
    }

    /// Flips, cuts, repeats and splices, a few times.
    fn mutant(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            match random.below(6) {
                0 if !bytes.is_empty() => {
                    let at = at.min(bytes.len() - 1);
                    bytes[at] ^= 1 << random.below(8);
                }
                1 if !bytes.is_empty() => {
                    let at = at.min(bytes.len() - 1);
                    bytes[at] = [0, 0xff, b'\n', b'-', b'9', b' ', b'%', b':'][random.below(8)];
                }
                2 => bytes.truncate(at),
                3 => {
                    let end = at + random.below(bytes.len() - at + 1);
                    let part = bytes[at..end].to_vec();
                    for _ in 0..random.below(8) {
                        bytes.splice(at..at, part.iter().copied());
                    }
                }
                4 => {
                    let other = &corpus[random.below(corpus.len())];
                    let from = random.below(other.len() + 1);
                    let to = from + random.below(other.len() - from + 1);
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ => {
                    let end = at + random.below(bytes.len() - at + 1);
                    bytes.drain(at..end);
                }
            }
            bytes.truncate(1 << 16);
        }
        bytes
    }

    fn resident_peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn no_input_panics_hangs_or_takes_memory_without_bound() {
        let given = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let seed = given("CHAOS_TEST_SEED").unwrap_or(20_261_127);
        let count = given("CHAOS_FUZZ_MUTANTS").unwrap_or(MUTANTS);
        println!("seed {seed}");
        let before = resident_peak();
        for (name, target) in TARGETS {
            let corpus = corpus(name);
            assert!(!corpus.is_empty(), "{name}");
            let mut random = Random(seed);
            let mutants = (0..count).map(|_| mutant(&corpus, &mut random));
            for (number, input) in corpus.iter().cloned().chain(mutants).enumerate() {
                let start = worked();
                let outcome = std::panic::catch_unwind(|| target(&input));
                let shown = String::from_utf8_lossy(&input);
                assert!(outcome.is_ok(), "{name} {number} panicked on {shown:?}");
                assert!(
                    worked().saturating_sub(start) < MOST,
                    "{name} {number} took too long on {shown:?}"
                );
            }
        }
        let grown = resident_peak().saturating_sub(before);
        assert!(grown < 256 << 10, "grew by {grown} KiB");
    }

    #[test]
    fn every_target_has_a_fuzzer_of_its_name() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            let text = std::fs::read_to_string(folder.join(format!("targets/{name}.rs"))).unwrap();
            assert!(text.contains(&format!("chaos::fuzz::{name}(")), "{name}");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
