//! Wallet files: written whole or not at all, as far as a killed process is concerned. Like the
//! real wallet, it does not wait for the disk.

use std::{fs, io, path::PathBuf};

use super::wallet::Wallet;

/// The folder with the wallet files.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Uses `folder`, making it if needed.
    pub fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wallet.json"))
    }

    pub(super) fn load(&self, name: &str) -> io::Result<Wallet> {
        let bytes = fs::read(self.path(name))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(super) fn save(&self, name: &str, wallet: &Wallet) -> io::Result<()> {
        let draft = self.folder.join(format!(".{name}.new"));
        fs::write(&draft, serde_json::to_vec(wallet).map_err(io::Error::other)?)?;
        fs::rename(&draft, self.path(name))
    }
}
