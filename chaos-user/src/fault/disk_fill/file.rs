//! The file that takes the room.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::sys::statvfs::fstatvfs;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate, openat, unlinkat};
use rustix::io::Errno;

use crate::plan::Room;

/// What is written at once where room cannot be reserved, in bytes.
const CHUNK: usize = 1 << 20;

/// A file that takes room. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Filler {
    file: File,
    length: u64,
    reserves: bool,
    chunk: Vec<u8>,
}

/// How an attempt to take room ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// So many bytes more.
    pub(super) bytes: u64,
    /// Whether the filesystem refused the rest (ENOSPC, or a quota).
    pub(super) refused: bool,
}

/// What the filesystem of an open file says about its room.
pub(super) fn room(place: &impl AsFd) -> io::Result<Room> {
    let stat = fstatvfs(place)?;
    let block = stat.fragment_size();
    Ok(Room {
        used: (stat.blocks() - stat.blocks_free().min(stat.blocks())).saturating_mul(block),
        available: stat.blocks_available().saturating_mul(block),
        block: block.max(1),
    })
}

impl Filler {
    /// Makes a file in a folder. `name` is used only where a file cannot do without one, and only
    /// for a moment.
    pub(super) fn create(folder: &OwnedFd, name: &str) -> io::Result<Self> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match openat(folder, ".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => file,
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let named = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let file = openat(folder, name, named, mode)?;
                unlinkat(folder, name, AtFlags::empty())?;
                file
            }
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self { file: file.into(), length: 0, reserves: true, chunk: Vec::new() })
    }

    /// Takes up to so many bytes more.
    pub(super) fn take(&mut self, wanted: u64) -> io::Result<Taken> {
        if self.reserves { self.reserve(wanted) } else { self.write(wanted) }
    }

    /// Reserves room in ever smaller steps, so that the last block is found too.
    fn reserve(&mut self, wanted: u64) -> io::Result<Taken> {
        let before = self.length;
        let mut step = wanted;
        while self.length - before < wanted {
            match fallocate(&self.file, FallocateFlags::empty(), self.length, step) {
                Ok(()) => self.length += step,
                Err(Errno::NOSPC | Errno::DQUOT) if step > 1 => step = step.div_ceil(2),
                Err(Errno::NOSPC | Errno::DQUOT) => {
                    return Ok(Taken { bytes: self.length - before, refused: true });
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.reserves = false;
                    return self.write(wanted);
                }
                Err(errno) => return Err(errno.into()),
            }
            step = step.min(wanted - (self.length - before)).max(1);
        }
        Ok(Taken { bytes: self.length - before, refused: false })
    }

    fn write(&mut self, wanted: u64) -> io::Result<Taken> {
        if self.chunk.is_empty() {
            // Filesystems that compress would store zeros in no room at all.
            self.chunk = noise(CHUNK);
        }
        let before = self.length;
        while self.length - before < wanted {
            let left = usize::try_from(wanted - (self.length - before)).unwrap_or(CHUNK);
            match self.file.write_at(&self.chunk[..left.min(CHUNK)], self.length) {
                Ok(0) => break,
                Ok(written) => self.length += written as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    return Ok(Taken { bytes: self.length - before, refused: true });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Taken { bytes: self.length - before, refused: false })
    }

    /// Gives all room back at once, and not only when the last descriptor is closed.
    pub(super) fn release(self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes without a pattern, always the same (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    });
    words.take(length / 8).flatten().collect()
}
