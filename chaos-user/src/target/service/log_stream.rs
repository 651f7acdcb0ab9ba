//! Lines in what a container engine sends when it is asked for a log, each with its time.

use jiff::Timestamp;

/// Stream, three zeros, and the length of what follows.
const HEADER: usize = 8;
/// The largest frame; engines cut longer lines into pieces of 16 KiB.
const FRAME: usize = 4 << 20;
/// A line is cut here.
const LINE: usize = 1 << 20;
/// The stream on which the engine itself speaks.
const OF_ENGINE: u8 = 3;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// When it was written, if the engine says so.
    pub(super) at: Option<Timestamp>,
    /// Without its end.
    pub(super) text: Vec<u8>,
}

/// Puts lines together. An engine sends the streams of a container in frames, unless it has a
/// terminal: then there is only one, as it is.
#[derive(Debug)]
pub(super) struct LogStream {
    framed: bool,
    frames: Vec<u8>,
    lines: [Vec<u8>; 3],
    reached: Option<Timestamp>,
}

impl LogStream {
    pub(super) fn new(framed: bool) -> Self {
        Self { framed, frames: Vec::new(), lines: Default::default(), reached: None }
    }

    /// The latest time of anything that has come, be it whole or not.
    pub(super) fn reached(&self) -> Option<Timestamp> {
        let begun = self.lines.iter().filter_map(|line| dated(line).0);
        begun.chain(self.reached).max()
    }

    /// The lines that these bytes end.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<Vec<Line>, String> {
        let mut ended = Vec::new();
        if !self.framed {
            self.piece(0, bytes, &mut ended);
            return Ok(ended);
        }
        self.frames.extend_from_slice(bytes);
        let mut frames = std::mem::take(&mut self.frames);
        let mut rest = frames.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
            let [stream, 0, 0, 0, length @ ..] = *header else {
                return Err("its log is not made of frames".into());
            };
            let length = u32::from_be_bytes(length) as usize;
            if stream > OF_ENGINE || length > FRAME {
                return Err("its log is not made of frames".into());
            }
            let Some((frame, after)) = after.split_at_checked(length) else { break };
            if stream == OF_ENGINE {
                return Err(String::from_utf8_lossy(frame).trim().to_owned());
            }
            self.frame(usize::from(stream), frame, &mut ended);
            rest = after;
        }
        let done = frames.len() - rest.len();
        frames.drain(..done);
        self.frames = frames;
        Ok(ended)
    }

    /// Each piece of a long line has a time of its own.
    fn frame(&mut self, stream: usize, frame: &[u8], ended: &mut Vec<Line>) {
        let (at, text) = dated(frame);
        self.reached = self.reached.max(at);
        let begins = self.lines.get(stream).is_none_or(Vec::is_empty);
        self.piece(stream, if begins { frame } else { text }, ended);
    }

    fn piece(&mut self, stream: usize, piece: &[u8], ended: &mut Vec<Line>) {
        let Some(open) = self.lines.get_mut(stream) else { return };
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            open.extend_from_slice(part);
            if !open.ends_with(b"\n") && open.len() < LINE {
                continue;
            }
            let (at, text) = dated(open);
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            let text = text.strip_suffix(b"\r").unwrap_or(text).to_vec();
            self.reached = self.reached.max(at);
            ended.push(Line { at, text });
            open.clear();
        }
    }
}

/// A time at the beginning, and what follows it.
fn dated(line: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let end = line.iter().take(40).position(|byte| *byte == b' ');
    let found = end.and_then(|end| {
        let at = std::str::from_utf8(line.get(..end)?).ok()?.parse().ok()?;
        Some((Some(at), line.get(end + 1..)?))
    });
    found.unwrap_or((None, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    fn texts(lines: &[Line]) -> Vec<(i64, String)> {
        let second = |line: &Line| line.at.map_or(-1, Timestamp::as_second);
        lines
            .iter()
            .map(|line| (second(line), String::from_utf8(line.text.clone()).unwrap()))
            .collect()
    }

    #[test]
    fn lines_are_the_same_wherever_what_comes_is_cut() {
        let all = [
            frame(1, "1970-01-01T00:00:01.000000000Z first\n"),
            frame(1, "1970-01-01T00:00:02.000000000Z a long "),
            frame(2, "1970-01-01T01:00:03.5+01:00 from stderr\r\n"),
            frame(1, "1970-01-01T00:00:04.000000000Z line\n"),
            frame(1, "without a time\n"),
            frame(1, "1970-01-01T00:00:05.000000000Z \n"),
            frame(1, "1970-01-01T00:00:09.000000000Z open"),
        ]
        .concat();
        let expected =
            [(1, "first"), (3, "from stderr"), (2, "a long line"), (-1, "without a time"), (5, "")]
                .map(|(at, text)| (at, text.to_owned()));
        for size in 1..all.len() {
            let mut stream = LogStream::new(true);
            let lines: Vec<Line> =
                all.chunks(size).flat_map(|chunk| stream.add(chunk).unwrap()).collect();
            assert_eq!(texts(&lines), expected, "in pieces of {size}");
            assert_eq!(stream.reached(), Some(Timestamp::from_second(9).unwrap()));
        }
        let plain = b"1970-01-01T00:00:01Z one\r\n1970-01-01T00:00:02Z two\n1970-01-01T00:00:07Z ";
        for size in 1..plain.len() {
            let mut stream = LogStream::new(false);
            let lines: Vec<Line> =
                plain.chunks(size).flat_map(|chunk| stream.add(chunk).unwrap()).collect();
            assert_eq!(texts(&lines), [(1, "one".to_owned()), (2, "two".to_owned())]);
            assert_eq!(stream.reached(), Some(Timestamp::from_second(7).unwrap()));
        }
    }

    #[test]
    fn what_is_no_log_is_told() {
        assert!(LogStream::new(true).add(b"{\"message\": 1}").is_err());
        assert!(LogStream::new(true).add(&[1, 0, 0, 0, 255, 0, 0, 0]).is_err());
        let said = LogStream::new(true).add(&frame(3, "the log is gone\n"));
        assert_eq!(said.unwrap_err(), "the log is gone");
        // A line without an end is cut, and does not grow for ever.
        let mut stream = LogStream::new(false);
        let lines = stream.add(&vec![b'x'; LINE + 1]).unwrap();
        assert_eq!(lines.len(), 1);
        assert!(stream.lines[0].is_empty());
    }
}
