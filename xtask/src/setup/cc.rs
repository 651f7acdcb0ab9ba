//! A C compiler, which the bundled SQLite of the reference target needs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use chaos_ebpf_build::Layout;

use super::Distribution;

/// Debian's packages of a C compiler with the C library's headers.
const PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];

/// Finds a working C compiler or installs one.
pub(crate) fn ensure_c_compiler(layout: &Layout, distribution: &Distribution) -> Result<()> {
    if works() {
        return Ok(());
    }
    let why = "the bundled SQLite needs a C compiler";
    if !distribution.can_install() {
        bail!("{why}; run\n    sudo apt-get install {}", PACKAGES.join(" "));
    }
    distribution.install(layout, &PACKAGES, why)?;
    if works() { Ok(()) } else { bail!("gcc is installed but does not compile a C file") }
}

/// Whether `cc` compiles a file that includes a header of the C library.
fn works() -> bool {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let child = Command::new(compiler)
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let written = child
        .stdin
        .take()
        .is_some_and(|mut stdin| stdin.write_all(b"#include <stdio.h>\n").is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}
