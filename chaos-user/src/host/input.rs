//! Files of users, which are read up to a limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The most that is read of an experiment, a policy or an approval.
const MOST: u64 = 1 << 20;

/// The text of a file of at most [`MOST`] bytes.
pub fn read_text(path: &Path) -> io::Result<String> {
    bounded(File::open(path)?)
}

pub(super) fn bounded(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(read_text(Path::new("/proc/self/comm")).is_ok());
    }
}
