//! Payloads made up to be refused. Pure: the same seed makes the same payloads.

use serde_json::{Value, json};

use chaos_common::decide::mix;

/// Something malformed.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// In place of `${payload}`.
    Value {
        /// What is wrong with it.
        class: &'static str,
        /// What is sent.
        value: Value,
    },
    /// In place of the whole body.
    Raw {
        /// What is wrong with it.
        class: &'static str,
        /// What is sent.
        bytes: Vec<u8>,
    },
}

impl Payload {
    /// What is wrong with it.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Value { class, .. } | Self::Raw { class, .. } => class,
        }
    }

    /// A number that tells it from others (FNV-1a), and not what is in it. It stays the same from one
    /// version to the next, so that logs can be compared.
    pub fn digest(&self) -> u64 {
        let text;
        let (kind, bytes) = match self {
            Self::Value { value, .. } => {
                text = value.to_string();
                (0, text.as_bytes())
            }
            Self::Raw { bytes, .. } => (1, bytes.as_slice()),
        };
        [kind].iter().chain(bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// `count` payloads: first those that are always the same, then samples spoiled at random.
pub fn payloads(seed: u64, count: usize, samples: &[String]) -> Vec<Payload> {
    let mut all = corpus(samples.first().map_or("", String::as_str));
    all.truncate(count);
    let mut random = Random { seed, drawn: 0 };
    let nothing = String::from("MultisigxV2R1");
    while all.len() < count {
        let at = random.below(samples.len().max(1));
        all.push(spoiled(&mut random, samples.get(at).unwrap_or(&nothing)));
    }
    all
}

/// What every parser should have seen once.
fn corpus(sample: &str) -> Vec<Payload> {
    let half: String = sample.chars().take(sample.chars().count() / 2).collect();
    let texts = [
        ("not a message", "INVALID@#$%".to_owned()),
        ("empty", String::new()),
        ("white space", " \t\r\n ".to_owned()),
        ("cut in half", half),
        ("twice", format!("{sample}{sample}")),
        ("something behind it", format!("{sample}!")),
        ("something before it", format!(" {sample}")),
        ("control characters", (0_u8..32).map(char::from).collect()),
        ("a zero byte inside", format!("{sample}\u{0}{sample}")),
        ("right to left", "\u{202e}gisitluM\u{202c}".to_owned()),
        ("not normalised", "M\u{fb03}\u{0301}\u{1d400}\u{1f600}".repeat(20)),
        ("long", "M".repeat(30_000)),
        ("format directives", "%s%n%x{}{0}$(id)`id`".to_owned()),
        ("another language", "'; DROP TABLE escrows; --<script>".to_owned()),
        ("a path", "../../../../etc/passwd\u{0}.json".to_owned()),
        ("in hexadecimal", hex(sample)),
        ("percent-encoded", percent(sample)),
        ("upper case", sample.to_uppercase()),
        ("backwards", sample.chars().rev().collect()),
        ("characters it cannot have", sample.replace(['1', '2', '3'], "0OIl")),
    ];
    let mut all: Vec<Payload> =
        texts.into_iter().map(|(class, text)| value(class, text.into())).collect();
    all.extend([
        value("null", Value::Null),
        value("a boolean", json!(true)),
        value("a number", json!(-1)),
        value("a huge number", json!(1e308)),
        value("a list", json!([sample, sample])),
        value("an object", json!({ "info": sample, "__proto__": {"admin": true} })),
        value("nested", nested(100)),
    ]);
    let raw = |class, text: String| Payload::Raw { class, bytes: text.into_bytes() };
    all.extend([
        raw("not JSON", "{".into()),
        raw(
            "JSON that ends early",
            format!(r#"{{"round":1,"info":"{half}"#, half = "M".repeat(40)),
        ),
        raw("a number out of range", format!(r#"{{"round":1{},"info":"x"}}"#, "0".repeat(400))),
        raw("a key twice", r#"{"round":1,"round":2,"info":"INVALID@#$%"}"#.into()),
        raw("nested without end", format!("{}{}", r#"{"info":"#, "[".repeat(20_000))),
        Payload::Raw {
            class: "not UTF-8",
            bytes: b"{\"round\":1,\"info\":\"\xff\xfe\xc0\"}".into(),
        },
        raw("a lone surrogate", r#"{"round":1,"info":"\ud800"}"#.into()),
        raw("UTF-16", "{\0\"\0i\0n\0f\0o\0\"\0:\x01\0}\0".into()),
    ]);
    all
}

fn value(class: &'static str, value: Value) -> Payload {
    Payload::Value { class, value }
}

/// A good text with something wrong: never the text itself.
fn spoiled(random: &mut Random, sample: &str) -> Payload {
    let chars: Vec<char> = sample.chars().collect();
    let at = random.below(chars.len().max(1));
    let joined = |chars: &[char]| chars.iter().collect::<String>();
    let (class, text) = match random.below(7) {
        0 => ("cut short", joined(&chars[..at.min(chars.len())])),
        1 => {
            let mut longer = chars.clone();
            for _ in 0..=random.below(64) {
                longer.push(random.letter());
            }
            ("too long", joined(&longer))
        }
        2 => ("a character changed", replaced(random, &chars, at, 1)),
        3 => {
            let run = 2 + random.below(30);
            ("characters changed", replaced(random, &chars, at, run))
        }
        4 => {
            let mut fewer = chars.clone();
            if at < fewer.len() {
                fewer.remove(at);
            }
            ("a character missing", joined(&fewer))
        }
        5 => {
            let mut more = chars.clone();
            more.insert(at.min(more.len()), char::from(random.below(32) as u8));
            ("a control character inside", joined(&more))
        }
        _ => {
            let length = random.below(400);
            ("noise", (0..length).map(|_| random.letter()).collect())
        }
    };
    let text = if text == sample { format!("{text}#") } else { text };
    value(class, text.into())
}

fn replaced(random: &mut Random, chars: &[char], at: usize, run: usize) -> String {
    let mut changed = chars.to_vec();
    for place in changed.iter_mut().skip(at).take(run) {
        *place = random.letter();
    }
    changed.into_iter().collect()
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("x"), |inner, level| {
        if level % 2 == 0 { json!([inner]) } else { json!({ "info": inner }) }
    })
}

fn hex(text: &str) -> String {
    text.bytes()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        out.push('%');
        out.push_str(&hex(&char::from(byte).to_string()));
    }
    out
}

/// A stream of decisions, by the seed and their number.
struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.seed, self.drawn)
    }

    /// From 0 to one less than `bound`, which is more than 0.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Mostly of base58, sometimes of none of its characters.
    fn letter(&mut self) -> char {
        const LETTERS: &[u8] =
            b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl+/=-_@#$%";
        let at = self.below(LETTERS.len());
        LETTERS.get(at).copied().map_or('1', char::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn samples() -> Vec<String> {
        vec!["MultisigxV2R1".to_owned() + &"Ab3".repeat(50)]
    }

    #[test]
    fn the_same_seed_makes_the_same_payloads() {
        assert_eq!(payloads(7, 300, &samples()), payloads(7, 300, &samples()));
        assert_ne!(payloads(7, 300, &samples()), payloads(8, 300, &samples()));
        let digests = |seed| -> Vec<u64> {
            payloads(seed, 300, &samples()).iter().map(Payload::digest).collect()
        };
        assert_eq!(digests(7), digests(7));
        assert_ne!(digests(7), digests(8));
        // The fixed ones differ from each other, too, but for two that this sample makes the same.
        assert!(digests(7).into_iter().take(35).collect::<BTreeSet<_>>().len() >= 34);
        let empty = Payload::Raw { class: "", bytes: Vec::new() };
        assert_eq!(empty.digest(), (0xcbf2_9ce4_8422_2325 ^ 1_u64).wrapping_mul(0x0100_0000_01b3));
        assert_eq!(payloads(7, 300, &samples())[..35], payloads(8, 300, &samples())[..35]);
    }

    #[test]
    fn none_is_the_sample_itself_and_all_classes_come() {
        let all = payloads(1, 2000, &samples());
        assert_eq!(all.len(), 2000);
        let good = Value::from(samples().remove(0));
        let is_good =
            |payload: &&Payload| matches!(payload, Payload::Value { value, .. } if *value == good);
        assert_eq!(all.iter().find(is_good), None);
        let classes: BTreeSet<&str> = all.iter().map(Payload::class).collect();
        assert_eq!(classes.len(), 20 + 7 + 8 + 7, "{classes:?}");
    }

    #[test]
    fn no_samples_are_no_reason_to_stop() {
        assert_eq!(payloads(1, 100, &[]).len(), 100);
        assert_eq!(payloads(1, 100, &[String::new()]).len(), 100);
        assert_eq!(payloads(1, 0, &samples()), []);
    }
}
