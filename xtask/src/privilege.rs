//! Root, sudo, and what the capabilities are for.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use caps::{CapSet, Capability};

/// What injecting faults takes, and why.
const NEEDED: [(Capability, &str); 6] = [
    (Capability::CAP_BPF, "load eBPF programs and create their maps"),
    (Capability::CAP_PERFMON, "let eBPF programs read packet memory through pointers"),
    (Capability::CAP_NET_ADMIN, "attach programs to devices; create links, addresses and queues"),
    (Capability::CAP_NET_RAW, "put delayed packets back on their device"),
    (Capability::CAP_SYS_ADMIN, "create and enter network namespaces; mount the lab's files"),
    (Capability::CAP_KILL, "stop and restart the processes of the target"),
];

/// The environment that sudo would drop and that the run needs.
const KEPT: &[&str] = &[
    "CARGO",
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "CHAOS_TEST_SEED",
    "CHAOS_EBPF_OBJECT",
    "HOME",
    "PATH",
    "RUSTUP_HOME",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SSH_CONNECTION",
    "TERM",
];

/// How this process gets privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It has them.
    Held,
    /// Through this sudo.
    Sudo(PathBuf),
    /// It cannot; these are missing.
    Missing(Vec<Capability>),
}

impl Privilege {
    /// Looks at this process and at PATH.
    pub(crate) fn of_this_process() -> Self {
        let held = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        let sudo = (!nix::unistd::geteuid().is_root()).then(|| find_program("sudo")).flatten();
        Self::decide(held, sudo)
    }

    /// Like [`Self::of_this_process`], for installing packages, which takes root itself.
    pub(crate) fn for_packages() -> Self {
        if nix::unistd::geteuid().is_root() {
            return Self::Held;
        }
        find_program("sudo").map_or_else(
            || Self::Missing(NEEDED.iter().map(|&(capability, _)| capability).collect()),
            Self::Sudo,
        )
    }

    fn decide(held: impl Fn(Capability) -> bool, sudo: Option<PathBuf>) -> Self {
        let missing: Vec<_> =
            NEEDED.iter().map(|&(capability, _)| capability).filter(|&c| !held(c)).collect();
        match (missing.is_empty(), sudo) {
            (true, _) => Self::Held,
            (false, Some(sudo)) => Self::Sudo(sudo),
            (false, None) => Self::Missing(missing),
        }
    }

    /// A command that runs `program` with privileges; the error names what is missing.
    pub(crate) fn command(&self, program: &Path) -> Result<Command> {
        match self {
            Self::Held => Ok(Command::new(program)),
            Self::Sudo(sudo) => {
                let mut command = Command::new(sudo);
                command.arg("--").arg("/usr/bin/env").args(kept_environment()).arg(program);
                Ok(command)
            }
            Self::Missing(missing) => Err(MissingPrivileges(missing.clone()).into()),
        }
    }

    /// Asks for sudo's password now, while nothing else writes to the terminal.
    pub(crate) fn prepare(&self) -> Result<()> {
        match self {
            Self::Held => Ok(()),
            Self::Missing(missing) => Err(MissingPrivileges(missing.clone()).into()),
            Self::Sudo(sudo) => {
                eprintln!("==> this needs root: going through {}", sudo.display());
                match Command::new(sudo).arg("-v").status() {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => bail!("sudo refused ({status}); run this as root instead"),
                    Err(error) => bail!("cannot start {}: {error}", sudo.display()),
                }
            }
        }
    }
}

/// This process lacks these and has no way to get them.
#[derive(Debug)]
pub(crate) struct MissingPrivileges(Vec<Capability>);

impl std::error::Error for MissingPrivileges {}

impl fmt::Display for MissingPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this needs privileges that this process lacks, and there is no sudo here.\n\
             Run it as root, or give it these capabilities:",
        )?;
        for (capability, purpose) in NEEDED.iter().filter(|(c, _)| self.0.contains(c)) {
            write!(f, "\n    {:<18} {purpose}", capability.to_string())?;
        }
        Ok(())
    }
}

fn kept_environment() -> impl Iterator<Item = OsString> {
    KEPT.iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        let mut pair = OsString::from(name);
        pair.push("=");
        pair.push(value);
        Some(pair)
    })
}

/// Looks for a program on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_decide_and_not_the_user_id() {
        assert_eq!(Privilege::decide(|_| true, None), Privilege::Held);
        assert_eq!(Privilege::decide(|_| true, Some("/s".into())), Privilege::Held);
        assert_eq!(Privilege::decide(|_| false, Some("/s".into())), Privilege::Sudo("/s".into()));
        let all_but_bpf = |capability| capability != Capability::CAP_BPF;
        assert_eq!(
            Privilege::decide(all_but_bpf, None),
            Privilege::Missing(vec![Capability::CAP_BPF])
        );
    }

    #[test]
    fn only_what_is_missing_is_named() {
        let error = Privilege::Missing(vec![Capability::CAP_BPF])
            .command(Path::new("/bin/true"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("CAP_BPF            load eBPF programs"), "{error}");
        assert!(!error.contains("CAP_NET_ADMIN"), "{error}");
    }

    #[test]
    fn sudo_keeps_the_environment_and_the_arguments() {
        let mut command = Privilege::Sudo("/usr/bin/sudo".into()).command(Path::new("/x")).unwrap();
        command.arg("a b");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words[..2], ["--", "/usr/bin/env"]);
        assert!(words.iter().any(|word| word.starts_with("PATH=")));
        assert_eq!(words[words.len() - 2..], ["/x", "a b"]);
    }
}
