//! Writes the "newc" archives that the kernel unpacks as its first root.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path};

const DIRECTORY: u32 = 0o040_755;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
const REGULAR: u32 = 0o100_000;

/// Writes an archive; the folders above what is added are added by themselves.
pub(super) struct CpioWriter<W> {
    out: W,
    written: u64,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> CpioWriter<W> {
    /// An empty archive.
    pub(super) fn new(out: W) -> Self {
        Self { out, written: 0, inode: 0, directories: BTreeSet::new() }
    }

    /// An empty folder.
    pub(super) fn directory(&mut self, path: &Path) -> io::Result<()> {
        let name = archive_name(path)?;
        self.parents(&format!("{name}/x"))
    }

    /// A file with these permissions.
    pub(super) fn file(&mut self, path: &Path, permissions: u32, data: &[u8]) -> io::Result<()> {
        let name = archive_name(path)?;
        self.parents(&name)?;
        self.entry(&name, REGULAR | permissions, (0, 0), data)
    }

    /// A symbolic link.
    pub(super) fn symlink(&mut self, path: &Path, target: &str) -> io::Result<()> {
        let name = archive_name(path)?;
        self.parents(&name)?;
        self.entry(&name, SYMLINK, (0, 0), target.as_bytes())
    }

    /// A character device.
    pub(super) fn device(&mut self, path: &Path, major: u32, minor: u32) -> io::Result<()> {
        let name = archive_name(path)?;
        self.parents(&name)?;
        self.entry(&name, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, name: &str) -> io::Result<()> {
        let ends: Vec<_> = name.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            let parent = &name[..end];
            if self.directories.insert(parent.into()) {
                self.entry(parent, DIRECTORY, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        (major, minor): (u32, u32),
        data: &[u8],
    ) -> io::Result<()> {
        let size = u32::try_from(data.len())
            .map_err(|_| io::Error::other(format!("{name} is too large for an initramfs")))?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        // inode, mode, uid, gid, links, mtime, size, device, device, rdevice, rdevice, name, check
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0];
        self.inode += 1;
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08X}").as_bytes())?;
        }
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(data)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..padding as usize])
    }
}

/// Without the leading slash; `.` and `..` have no place in an archive.
fn archive_name(path: &Path) -> io::Result<String> {
    let wrong = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} cannot be archived", path.display()),
        )
    };
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(wrong)?),
            _ => return Err(wrong()),
        }
    }
    if parts.is_empty() { Err(wrong()) } else { Ok(parts.join("/")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, mode, device and data.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Every entry, read back by the format's description.
    fn read_back(mut archive: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&archive[..6], b"070701");
            let field = |index: usize| {
                let text = std::str::from_utf8(&archive[6 + index * 8..14 + index * 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&archive[110..110 + name_size - 1]).unwrap().to_owned();
            assert_eq!(archive[110 + name_size - 1], 0);
            let start = (110 + name_size).next_multiple_of(4);
            let data = archive[start..start + size].to_vec();
            let entry = (name, field(1), (field(9), field(10)), data);
            archive = &archive[(start + size).next_multiple_of(4)..];
            if entry.0 == "TRAILER!!!" {
                assert!(archive.is_empty());
                return entries;
            }
            entries.push(entry);
        }
    }

    #[test]
    fn every_kind_of_entry_is_read_back() {
        let mut writer = CpioWriter::new(Vec::new());
        writer.device(Path::new("/dev/console"), 5, 1).unwrap();
        writer.file(Path::new("/a/b/init"), 0o755, b"#!x").unwrap();
        writer.symlink(Path::new("/a/sh"), "b/init").unwrap();
        writer.directory(Path::new("/a/b/c")).unwrap();
        let entries = read_back(&writer.finish().unwrap());
        let names: Vec<_> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["dev", "dev/console", "a", "a/b", "a/b/init", "a/sh", "a/b/c"]);
        assert_eq!(entries[1].2, (5, 1));
        assert_eq!((entries[4].1, &entries[4].3[..]), (0o100_755, &b"#!x"[..]));
        assert_eq!(entries[5].3, b"b/init");
    }

    #[test]
    fn odd_paths_are_refused() {
        let mut writer = CpioWriter::new(Vec::new());
        for path in ["", "/", "../x", "/a/../b"] {
            assert!(writer.file(Path::new(path), 0o644, b"").is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn data_of_any_length_survives(files in proptest::collection::vec(
            ("[a-z]{1,9}", proptest::collection::vec(any::<u8>(), 0..50)), 0..8,
        )) {
            let mut writer = CpioWriter::new(Vec::new());
            for (name, data) in &files {
                writer.file(Path::new(name), 0o644, data).unwrap();
            }
            let entries = read_back(&writer.finish().unwrap());
            let read: Vec<_> = entries.into_iter().map(|(name, _, _, data)| (name, data)).collect();
            prop_assert_eq!(read, files);
        }
    }
}
