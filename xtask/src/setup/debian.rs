//! Installing packages of the distribution.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use chaos_ebpf_build::Layout;

use crate::privilege::{Privilege, find_program};
use crate::progress::run_logged;

/// The distribution, as far as set-up cares.
#[derive(Debug)]
pub(crate) struct Distribution {
    /// On Debian: its `apt-get`.
    apt: Option<PathBuf>,
    privilege: Privilege,
}

impl Distribution {
    /// Looks at `/etc/os-release` and at what this process may do.
    pub(crate) fn of_this_machine() -> Self {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let apt = is_debian(&release).then(|| find_program("apt-get")).flatten();
        Self { apt, privilege: Privilege::for_packages() }
    }

    /// Whether packages can be installed.
    pub(crate) fn can_install(&self) -> bool {
        self.apt.is_some() && !matches!(self.privilege, Privilege::Missing(_))
    }

    /// Installs packages, having said which and why.
    pub(crate) fn install(&self, layout: &Layout, packages: &[&str], why: &str) -> Result<()> {
        let names = packages.join(" ");
        let Some(apt) = &self.apt else {
            bail!("{why}: install these packages: {names}");
        };
        eprintln!("==> {why}: installing Debian's {names}");
        self.update(layout)?;
        let mut install = self.apt_get(apt)?;
        install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        run_logged(layout, &format!("apt-get install {names}"), &mut install)?.success()?;
        Ok(())
    }

    /// Fetches the package lists.
    pub(crate) fn update(&self, layout: &Layout) -> Result<()> {
        let Some(apt) = &self.apt else { bail!("there is no apt-get of Debian here") };
        self.privilege.prepare()?;
        let mut update = self.apt_get(apt)?;
        // Lists of last time may still do; what needs them says so if they do not.
        if !run_logged(layout, "apt-get update", update.arg("update"))?.status.success() {
            eprintln!("    apt-get update failed; going on with the package lists that are here");
        }
        Ok(())
    }

    fn apt_get(&self, apt: &Path) -> Result<Command> {
        let mut command = self.privilege.command(Path::new("/usr/bin/env"))?;
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(apt);
        Ok(command)
    }
}

/// Whether this `os-release` is Debian itself; derivatives do not carry the same packages.
fn is_debian(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.strip_prefix("ID="))
        .any(|id| id.trim().trim_matches(['"', '\'']) == "debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_told_from_its_derivatives() {
        assert!(is_debian("PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(is_debian("ID=\"debian\"\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_debian(""));
    }
}
