//! The forms in which a secret can turn up: as it is, as a member of data, encoded. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// The shortest member of data, or line of a longer text, that is hidden by itself. Shorter ones,
/// such as a number of a database, are in everything.
const MEMBER: usize = 4;
/// The shortest secret that is hidden where it is encoded in base64 or hexadecimal.
const CODED: usize = 6;

/// A text that must not be seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    /// It.
    pub(super) text: String,
    /// Whether it is the middle of a word of base64, whose rest tells of the secret too.
    pub(super) coded: bool,
}

/// Every form of a secret.
///
/// A text or a number counts as a whole, however short. Data, also data written as a text, counts
/// as a whole and by its members; members and lines shorter than [`MEMBER`] do not, and `true`,
/// `false` and `null` never do.
pub(super) fn forms(secret: &Value) -> Vec<Form> {
    let mut texts = BTreeSet::new();
    match secret {
        Value::String(text) => {
            texts.insert(text.clone());
            texts.extend(text.lines().map(str::trim).filter(long).map(ToOwned::to_owned));
            let data = serde_json::from_str::<Value>(text).ok();
            if let Some(data) = data.filter(|data| data.is_array() || data.is_object()) {
                members(&data, &mut texts);
            }
        }
        Value::Number(number) => {
            texts.insert(number.to_string());
        }
        Value::Array(_) | Value::Object(_) => {
            texts.insert(secret.to_string());
            members(secret, &mut texts);
        }
        Value::Bool(_) | Value::Null => {}
    }
    texts.remove("");
    texts.iter().flat_map(|text| encoded(text)).collect()
}

fn long(text: &&str) -> bool {
    text.chars().count() >= MEMBER
}

fn members(data: &Value, into: &mut BTreeSet<String>) {
    match data {
        Value::String(text) => {
            let lines = text.lines().map(str::trim).chain([text.as_str()]);
            into.extend(lines.filter(long).map(ToOwned::to_owned));
        }
        Value::Number(number) => {
            into.extend(Some(number.to_string()).filter(|n| n.len() >= MEMBER));
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, into)),
        Value::Object(map) => map.values().for_each(|item| members(item, into)),
        Value::Bool(_) | Value::Null => {}
    }
}

/// The characters that URLs have encoded: in a query, in a path, before the host, and wherever
/// nothing but what is never encoded may stand.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
const FRAGMENT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');
const PLAIN_QUERY: &AsciiSet = &QUERY.remove(b'\'');
const PATH: &AsciiSet = &PLAIN_QUERY.add(b'?').add(b'^').add(b'`').add(b'{').add(b'}');
const SEGMENT: &AsciiSet = &PATH.add(b'/').add(b'%');
const USER: &AsciiSet = &PATH
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'|');
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const FORM: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');

/// A text and what encodings make of it.
fn encoded(text: &str) -> BTreeSet<Form> {
    let mut plain = BTreeSet::from([text.to_owned()]);
    let json = serde_json::to_string(text).unwrap_or_default();
    plain.insert(json.trim_matches('"').replace('/', "\\/"));
    plain.insert(json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned());
    // JSON of others has no characters beyond ASCII, or none that HTML gives a meaning.
    plain.insert(ascii(&json));
    plain.insert(text.escape_debug().to_string());
    let sets = [QUERY, FRAGMENT, PLAIN_QUERY, PATH, SEGMENT, USER, COMPONENT, NON_ALPHANUMERIC];
    for set in sets {
        let upper = utf8_percent_encode(text, set).to_string();
        plain.insert(lower(&upper));
        plain.insert(upper);
    }
    let form = utf8_percent_encode(text, FORM).to_string().replace(' ', "+");
    plain.insert(lower(&form));
    plain.insert(form);
    let mut all: BTreeSet<Form> = plain
        .into_iter()
        .filter(|form| !form.is_empty())
        .map(|text| Form { text, coded: false })
        .collect();
    if text.len() >= CODED {
        let hex = text.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        all.insert(Form { text: hex.to_uppercase(), coded: false });
        all.insert(Form { text: hex, coded: false });
        all.extend(base64(text.as_bytes()).map(|text| Form { text, coded: true }));
    }
    all
}

/// What is the same in base64 of anything that the bytes are in, wherever they begin in it.
fn base64(bytes: &[u8]) -> impl Iterator<Item = String> {
    (0..3_usize).flat_map(move |before| {
        let shifted = [&b"\0\0"[..before], bytes].concat();
        // Characters hold six bits; those at the edges hold bits of what is around.
        let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)]
            .into_iter()
            .filter_map(move |text| text.get(first..last).map(ToOwned::to_owned))
    })
}

/// The inside of a JSON text with `\u` for all that is not ASCII.
fn ascii(json: &str) -> String {
    let inside = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    let mut all = String::with_capacity(inside.len());
    for character in inside.chars() {
        if character.is_ascii() {
            all.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(all, "\\u{unit:04x}");
            }
        }
    }
    all
}

/// The same with `%xx` for `%XX`.
fn lower(text: &str) -> String {
    let mut parts = text.split('%');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        all.push('%');
        all.push_str(&code.to_lowercase());
        all.push_str(rest);
    }
    all
}
