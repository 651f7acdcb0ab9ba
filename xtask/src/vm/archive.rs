//! Packages of the distribution's archive, unpacked into a folder instead of installed.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;

use crate::progress::run_logged;
use crate::setup::Distribution;

/// The newest package whose name matches `pattern`, in which `*` stands for anything. Fetches the
/// package lists if they know none.
pub(super) fn newest(layout: &Layout, pattern: &str) -> Result<String> {
    let look = || -> Result<Option<String>> {
        let names = output(Command::new("apt-cache").arg("pkgnames"))?;
        Ok(names
            .lines()
            .filter(|name| matches(pattern, name))
            .max_by(|a, b| by_version(a, b))
            .map(String::from))
    };
    if let Some(name) = look()? {
        return Ok(name);
    }
    Distribution::of_this_machine().update(layout)?;
    look()?.with_context(|| format!("the distribution's archive has no package {pattern}"))
}

/// Downloads packages into `folder` and unpacks them into `folder/root`.
pub(super) fn unpack(
    layout: &Layout,
    what: &str,
    packages: &[String],
    folder: &Path,
) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut download = Command::new("apt-get");
    download.current_dir(folder).args(["download", "--"]).args(packages);
    run_logged(layout, &format!("download {what}"), &mut download)?.success()?;
    let root = folder.join("root");
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let package = entry.context("cannot list the downloads")?.path();
        if package.extension().is_none_or(|end| end != "deb") {
            continue;
        }
        let mut extract = Command::new("dpkg-deb");
        extract.arg("-x").arg(&package).arg(&root);
        output(&mut extract)?;
        fs::remove_file(&package)
            .with_context(|| format!("cannot remove {}", package.display()))?;
    }
    Ok(())
}

/// What installing `package` would bring in beyond what is installed, itself included.
pub(super) fn with_dependencies(layout: &Layout, package: &str) -> Result<Vec<String>> {
    simulated_install(layout, &[], &[package])
}

/// What installing `packages` would bring in where nothing at all is installed.
pub(super) fn with_all_dependencies(layout: &Layout, packages: &[&str]) -> Result<Vec<String>> {
    simulated_install(layout, &["-o", "Dir::State::status=/dev/null"], packages)
}

fn simulated_install(layout: &Layout, options: &[&str], packages: &[&str]) -> Result<Vec<String>> {
    let look = || {
        let mut simulate = Command::new("apt-get");
        simulate.args(options).args(["--simulate", "--no-install-recommends", "install"]);
        output(simulate.args(packages)).map(|text| to_install(&text))
    };
    match look() {
        Ok(packages) if !packages.is_empty() => Ok(packages),
        _ => {
            Distribution::of_this_machine().update(layout)?;
            look()
        }
    }
}

/// `Inst name (version …)` lines of a simulated install.
fn to_install(simulation: &str) -> Vec<String> {
    simulation
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
        .map(String::from)
        .collect()
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| {
        format!("cannot start {program}: VMs take their kernels and QEMU from Debian's archive")
    })?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(tail) = name.strip_prefix(start) else { return false };
    (0..=tail.len()).filter(|&at| tail.is_char_boundary(at)).any(|at| matches(rest, &tail[at..]))
}

/// Digits compare as numbers, everything else as text.
fn by_version(a: &str, b: &str) -> Ordering {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        let pattern = "linux-image-6.1.*-cloud-amd64-unsigned";
        assert!(matches(pattern, "linux-image-6.1.0-56-cloud-amd64-unsigned"));
        assert!(!matches(pattern, "linux-image-6.12.117+deb12-cloud-amd64-unsigned"));
        assert!(!matches(pattern, "linux-image-6.1.0-56-cloud-amd64-unsigned-dbg"));
        assert!(!matches(pattern, "linux-image-6.1.0-56-rt-amd64-unsigned"));
        assert!(matches("a*", "a") && !matches("a", "ab"));
    }

    #[test]
    fn newer_is_greater() {
        assert_eq!(by_version("k-6.1.0-9-x", "k-6.1.0-56-x"), Ordering::Less);
        assert_eq!(by_version("k-6.12.117+deb12", "k-6.12.99+deb12"), Ordering::Greater);
        assert_eq!(by_version("k-6.1", "k-6.1"), Ordering::Equal);
    }

    #[test]
    fn a_simulated_install_names_what_is_missing() {
        let text =
            "Reading…\nInst seabios (1.16 Debian:12 [all])\nInst qemu (7.2)\nConf seabios (1)\n";
        assert_eq!(to_install(text), ["seabios", "qemu"]);
    }
}
