//! Builds the privileged tests and the programs they start, statically linked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;
use chaos_suite::Suite;

use super::artifacts::{Executable, executables};
use crate::command::{cargo, host_triple};
use crate::progress::run_logged;

/// The package whose integration tests need privileges.
const PACKAGE: &str = "chaos-user";

/// The reference target, which those tests start.
const REFERENCE_TARGET: &str = "marketplace";

/// The other packages with a host side.
const OTHER_PACKAGES: [&str; 6] = [
    "chaos-common",
    "xtask",
    "xtask/ebpf-build",
    "xtask/guest",
    "xtask/suite",
    "examples/marketplace",
];

/// Static programs: they run on this host and in a VM that has no libraries.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The test programs.
    pub(crate) suites: Vec<Suite>,
    /// `chaos` and the programs of the reference target.
    pub(crate) binaries: Vec<PathBuf>,
}

/// Builds them all.
pub(crate) fn build_programs(layout: &Layout) -> Result<Programs> {
    let names = integration_tests(&layout.root().join(PACKAGE))?;
    if names.is_empty() {
        bail!("{PACKAGE} has no integration tests");
    }
    let binaries = build_lab_binaries(layout)?;
    let tests = build(layout, "build the privileged tests", "test", |build| {
        build.args(["-p", PACKAGE, "--no-run"]);
        for name in &names {
            build.args(["--test", name]);
        }
    })?;
    let suites: Vec<_> = executables(&tests, "test")
        .into_iter()
        .map(|Executable { name, path, package }| Suite {
            name,
            program: path,
            directory: package,
            without: Vec::new(),
        })
        .collect();
    if suites.len() != names.len() {
        bail!("cargo built {} of the {} privileged tests", suites.len(), names.len());
    }
    Ok(Programs { suites, binaries })
}

/// Builds `chaos` and the programs of the reference target, statically.
pub(crate) fn build_lab_binaries(layout: &Layout) -> Result<Vec<PathBuf>> {
    build_static_binaries(layout, "build the static programs", &[PACKAGE, REFERENCE_TARGET])
}

/// Builds the programs of some packages, statically.
pub(crate) fn build_static_binaries(
    layout: &Layout,
    name: &str,
    packages: &[&str],
) -> Result<Vec<PathBuf>> {
    let messages = build(layout, name, "build", |build| {
        build.arg("--bins").args(packages.iter().flat_map(|package| ["-p", package]));
    })?;
    Ok(executables(&messages, "bin").into_iter().map(|binary| binary.path).collect())
}

/// Builds one benchmark of the package whose tests need privileges, statically and optimised.
pub(crate) fn build_static_benchmark(layout: &Layout, name: &str) -> Result<PathBuf> {
    let messages = build(layout, "build the benchmark for the guest", "build", |build| {
        build.args(["-p", PACKAGE, "--bench", name, "--release"]);
    })?;
    let built = executables(&messages, "bench").into_iter().next();
    Ok(built.with_context(|| format!("{PACKAGE} has no benchmark {name}"))?.path)
}

/// A cargo that makes static executables. Every test uses it, so that what the tests depend on is
/// compiled once.
pub(crate) fn static_cargo(layout: &Layout, verb: &str) -> Command {
    let mut command = cargo(layout, verb);
    command
        .args(["--locked", "--target", &host_triple()])
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=debuginfo")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Runs cargo for static executables and returns its JSON messages.
fn build(
    layout: &Layout,
    name: &str,
    verb: &str,
    arguments: impl FnOnce(&mut Command),
) -> Result<String> {
    let mut command = static_cargo(layout, verb);
    command.arg("--message-format=json-render-diagnostics");
    arguments(&mut command);
    let finished = run_logged(layout, name, &mut command)?.success()?;
    fs::read_to_string(&finished.out)
        .with_context(|| format!("cannot read cargo's messages in {}", finished.out.display()))
}

/// The names of a package's integration tests, as cargo finds them.
fn integration_tests(package: &Path) -> Result<Vec<String>> {
    let folder = package.join("tests");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(vec![]) };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let is_test =
            path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file();
        if let Some(name) = path.file_stem().filter(|_| is_test) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The names of the integration tests of every other package, which need no privileges.
pub(crate) fn integration_tests_outside(layout: &Layout) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in OTHER_PACKAGES {
        names.extend(integration_tests(&layout.root().join(package))?);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integration_tests_are_files_and_folders_with_a_main() {
        let dir = tempfile::tempdir().unwrap();
        let tests = dir.path().join("tests");
        fs::create_dir_all(tests.join("big")).unwrap();
        fs::create_dir_all(tests.join("common")).unwrap();
        for file in ["one.rs", "big/main.rs", "common/mod.rs", "data.json"] {
            fs::write(tests.join(file), "").unwrap();
        }
        assert_eq!(integration_tests(dir.path()).unwrap(), ["big", "one"]);
        assert_eq!(integration_tests(&dir.path().join("none")).unwrap(), Vec::<String>::new());
    }
}
