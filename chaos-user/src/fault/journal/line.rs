//! The journal as bytes. Pure.

use serde::{Deserialize, Serialize};

use super::Record;

/// Version of the records: 1 had no numbers and no [`Record::Done`].
const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    crc: u32,
    /// Number of the record; version 1 had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    body: String,
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Contents {
    /// Records with their numbers.
    pub(super) records: Vec<(u64, Record)>,
    /// Lines that cannot be read, by what is wrong with them. A torn last line is none of them.
    pub(super) damaged: Vec<String>,
}

/// One record as a line.
pub(super) fn encode(number: u64, record: &Record) -> Result<String, serde_json::Error> {
    let body = serde_json::to_string(record)?;
    let crc = checksum(number, &body);
    Ok(serde_json::to_string(&Line { v: VERSION, crc, n: Some(number), body })? + "\n")
}

/// Reads a journal. A crash can tear the last line only, and its record is then about something
/// not done yet; whatever else cannot be read is reported.
pub(super) fn decode(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        match decode_line(line) {
            Ok((number, record)) => {
                contents.records.push((number.unwrap_or(index as u64), record));
            }
            Err(why) => contents.damaged.push(format!("line {}: {why}", index + 1)),
        }
    }
    contents
}

fn decode_line(line: &[u8]) -> Result<(Option<u64>, Record), String> {
    let line: Line = serde_json::from_slice(line).map_err(|_| "it is no record".to_owned())?;
    if line.v > VERSION {
        return Err(format!(
            "it was written by a newer version of this program (format {})",
            line.v
        ));
    }
    let expected = match line.n {
        Some(number) => checksum(number, &line.body),
        None => crc32fast::hash(line.body.as_bytes()),
    };
    if expected != line.crc {
        return Err("its checksum is wrong".into());
    }
    let record = serde_json::from_str(&line.body).map_err(|error| error.to_string())?;
    Ok((line.n, record))
}

fn checksum(number: u64, body: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::NetnsRef;
    use super::*;
    use crate::fault::undo::FilterUndo;

    fn sample(ifindex: u32) -> Record {
        let netns = NetnsRef { inode: 7, cookie: Some(3) };
        Record::Filter(FilterUndo {
            netns,
            ifindex,
            device: "eth0".into(),
            program: None,
            clsact: false,
        })
    }

    fn line(number: u64) -> String {
        encode(number, &sample(number as u32)).unwrap()
    }

    fn numbers(contents: &Contents) -> Vec<u64> {
        contents.records.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_torn_last_line_loses_only_itself() {
        let whole = line(1) + &line(2);
        let first = line(1).len();
        for cut in first..whole.len() {
            let contents = decode(&whole.as_bytes()[..cut]);
            assert_eq!(contents.records, [(1, sample(1))], "cut at {cut}");
            assert!(contents.damaged.is_empty(), "cut at {cut}");
        }
        assert_eq!(numbers(&decode(whole.as_bytes())), [1, 2]);
    }

    #[test]
    fn a_changed_record_is_not_believed_and_the_others_are() {
        let text =
            line(1).replace("eth0", "eth1") + &line(2) + &line(3).replace("\"n\":3", "\"n\":2");
        let contents = decode(text.as_bytes());
        assert_eq!(numbers(&contents), [2]);
        assert_eq!(
            contents.damaged,
            ["line 1: its checksum is wrong", "line 3: its checksum is wrong"]
        );
    }

    #[test]
    fn version_1_is_read() {
        let body = r#"{"record":"filter","netns":{"inode":9},"ifindex":4,"device":"eth0"}"#;
        let crc = crc32fast::hash(body.as_bytes());
        let line = serde_json::json!({ "v": 1, "crc": crc, "body": body }).to_string() + "\n";
        let netns = NetnsRef { inode: 9, cookie: None };
        let filter =
            FilterUndo { netns, ifindex: 4, device: "eth0".into(), program: None, clsact: true };
        assert_eq!(decode(line.as_bytes()).records, [(0, Record::Filter(filter))]);
    }

    #[test]
    fn a_newer_version_is_told() {
        let text = line(1).replace("\"v\":2", "\"v\":3");
        let contents = decode(text.as_bytes());
        assert!(contents.damaged[0].contains("newer version"), "{contents:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_parse(bytes: Vec<u8>) {
            decode(&bytes);
        }
    }
}
