//! Lines of a log, read as they come.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use regex::Regex;
use serde_json::{Value, json};

use super::Place;
use crate::experiment::{LogCall, LogSource, Redactor, Since};

/// How many of the lines that matched are shown: the last ones.
const SHOWN: usize = 20;
/// The most of a line that is shown, in characters.
const WIDTH: usize = 500;
/// The longest line that is looked at as a whole, in bytes.
const LINE: u64 = 1 << 20;

/// How far a log was read, and what was found up to there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    offset: u64,
    lines: u64,
    count: u64,
    shown: Vec<String>,
}

impl From<u64> for Reading {
    fn from(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }
}

/// Looks at what was written since the last look.
pub(super) fn look(probe: &str, call: &LogCall, place: &Place<'_>) -> Result<Value, String> {
    let path = match &call.source {
        LogSource::Path(path) => place.base.join(place.variables.fill_text(path)),
        LogSource::Container { name, socket } => {
            let name = place.variables.fill_text(name);
            let socket = place.variables.fill_text(&socket.to_string_lossy());
            (place.container_log)(&name, Path::new(&socket))?
        }
        LogSource::Process(target) => (place.process)(target)?.log,
    };
    let whole_run = call.since == Since::Run;
    let (phase, mut reading) = place.memory.reading(probe, &path, whole_run);
    let redactor = place.variables.redactor();
    let unfinished = match advance(&mut reading, &path, &call.pattern.0, redactor) {
        Ok(unfinished) => unfinished,
        // A log that is not there yet has no lines.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::default(),
        Err(error) => return Err(format!("read the log {}: {error}", path.display())),
    };
    place.memory.keep_reading(probe, phase, reading.clone());
    let mut lines = reading.shown;
    lines.extend(unfinished.shown);
    Ok(json!({
        "count": reading.count + unfinished.count,
        "lines": lines,
        "looked_at": reading.lines + unfinished.lines,
    }))
}

/// Reads on to the end. A last line without its end is returned apart: it may grow.
fn advance(
    reading: &mut Reading,
    path: &Path,
    pattern: &Regex,
    redactor: &Redactor,
) -> io::Result<Reading> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < reading.offset {
        // It was cut or replaced; what it holds now is new.
        reading.offset = 0;
    }
    file.seek(SeekFrom::Start(reading.offset))?;
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut file).take(LINE).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(Reading::default());
        }
        let mut unfinished = Reading::default();
        let ended = line.ends_with(b"\n") || read == LINE;
        let into = if ended { &mut *reading } else { &mut unfinished };
        into.lines += 1;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if pattern.is_match(text) {
            into.count += 1;
            // Before it is cut. Where reading stopped, a secret may have begun.
            let shown = if ended { redactor.text(text) } else { redactor.cut(text) };
            into.shown.push(shown.chars().take(WIDTH).collect());
            if into.shown.len() > SHOWN {
                into.shown.remove(0);
            }
        }
        if !ended {
            return Ok(unfinished);
        }
        reading.offset += read;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn each_line_counts_once_however_it_is_written() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let pattern = Regex::new("panic|ERROR").unwrap();
        let mut reading = Reading::default();
        let mut after = |text: &str, file: &mut tempfile::NamedTempFile| {
            file.write_all(text.as_bytes()).unwrap();
            let unfinished =
                advance(&mut reading, file.path(), &pattern, &Redactor::default()).unwrap();
            (reading.count + unfinished.count, reading.lines + unfinished.lines)
        };
        assert_eq!(after("fine\nERROR 1\n", &mut file), (1, 2));
        assert_eq!(after("", &mut file), (1, 2));
        assert_eq!(after("it pan", &mut file), (1, 3));
        assert_eq!(after("icked", &mut file), (2, 3), "without its end, as a crash leaves it");
        assert_eq!(after(" and died\nERROR 2", &mut file), (3, 4));
        file.as_file().set_len(0).unwrap();
        file.rewind().unwrap();
        assert_eq!(after("ERROR\n", &mut file), (3, 4), "cut, and written anew");
    }

    #[test]
    fn only_the_last_matches_are_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for number in 0..30 {
            writeln!(file, "ERROR {number} {}", "x".repeat(2 * WIDTH)).unwrap();
        }
        let mut reading = Reading::default();
        advance(&mut reading, file.path(), &Regex::new("ERROR").unwrap(), &Redactor::default())
            .unwrap();
        assert_eq!((reading.count, reading.shown.len()), (30, SHOWN));
        assert!(reading.shown[0].starts_with("ERROR 10 "), "{}", reading.shown[0]);
        assert_eq!(reading.shown[0].len(), WIDTH);
    }
}
