//! The compiler for the bpf target, and a clippy for it.

use anyhow::{Result, bail};
use chaos_ebpf_build::{Builder, DEBIAN_CLIPPY, DEBIAN_PACKAGES, Layout, Toolchain, candidates};

use super::Distribution;
use super::decide::{Decision, decide, still_unusable};

/// Finds the compiler for the bpf target or installs it; the error says which commands to run.
pub(crate) fn ensure_toolchain(layout: &Layout, distribution: &Distribution) -> Result<()> {
    match decide(candidates().collect(), distribution.can_install()) {
        Decision::Use(_) => Ok(()),
        Decision::GiveUp(text) => bail!("{text}"),
        Decision::Install(why) => {
            distribution.install(layout, &DEBIAN_PACKAGES, &why)?;
            let found: Vec<_> = candidates().collect();
            if found.iter().any(|candidate| candidate.unusable.is_none()) {
                Ok(())
            } else {
                bail!("{}", still_unusable(&found))
            }
        }
    }
}

/// A builder whose toolchain has clippy, which it installs if it can.
pub(crate) fn ensure_clippy(layout: &Layout, builder: Builder) -> Result<Builder> {
    let usable = || candidates().filter(|found| found.unusable.is_none()).map(|f| f.toolchain);
    if builder.toolchain().has_clippy() {
        return Ok(builder);
    }
    if let Some(other) = usable().find(Toolchain::has_clippy) {
        return Ok(builder.with_toolchain(other));
    }
    let distribution = Distribution::of_this_machine();
    match (builder.toolchain(), distribution.can_install()) {
        (Toolchain::Debian { .. }, true) => {
            distribution.install(layout, &[DEBIAN_CLIPPY], "clippy checks the bpf crate too")?;
            Ok(builder)
        }
        (Toolchain::Debian { .. }, false) => {
            bail!(
                "there is no clippy for the bpf target; run\n    sudo apt-get install {DEBIAN_CLIPPY}"
            )
        }
        (Toolchain::Rustup(name), _) => bail!(
            "there is no clippy for the bpf target; run\n    \
             rustup component add clippy --toolchain {name}"
        ),
    }
}
