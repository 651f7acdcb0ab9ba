//! Debian's package `monero`.

use anyhow::{Result, bail};
use chaos_ebpf_build::Layout;

use crate::privilege::find_program;
use crate::setup::Distribution;

const PACKAGE: &str = "monero";
/// What the lab starts of it.
const PROGRAMS: [&str; 2] = ["monerod", "monero-wallet-rpc"];

/// Looks for the programs, and installs the package if one is missing.
pub(crate) fn ensure_monero(layout: &Layout) -> Result<()> {
    if PROGRAMS.iter().all(|program| find_program(program).is_some()) {
        return Ok(());
    }
    let why = "real wallets need monerod and monero-wallet-rpc";
    let distribution = Distribution::of_this_machine();
    if !distribution.can_install() {
        bail!("{why} in PATH; on Debian run\n    sudo apt-get install {PACKAGE}");
    }
    distribution.install(layout, &[PACKAGE], why)?;
    match PROGRAMS.iter().find(|program| find_program(program).is_none()) {
        None => Ok(()),
        Some(program) => bail!("{PACKAGE} is installed, but {program} is not in PATH"),
    }
}
