//! Commands that several tasks run.

use std::ffi::OsStr;
use std::process::Command;

use chaos_ebpf_build::Layout;

/// The triple of this machine. Naming it makes cargo keep `RUSTFLAGS` away from build scripts.
pub(crate) fn host_triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The cargo that started xtask, in the workspace.
pub(crate) fn cargo(layout: &Layout, verb: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(layout.root()).arg(verb).env("CARGO_TARGET_DIR", layout.target());
    // What `cargo run` sets for xtask is about xtask, and would make the next cargo rebuild.
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_about_xtask(name)) {
        command.env_remove(name);
    }
    command
}

fn is_about_xtask(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// A command as one would type it, for log files and error messages.
pub(crate) fn shown(command: &Command) -> String {
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy();
        if !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c))
        {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_commands_can_be_pasted() {
        let mut command = Command::new("echo");
        command.args(["plain", "two words", "it's", "", "a=b"]);
        assert_eq!(shown(&command), r"echo plain 'two words' 'it'\''s' '' a=b");
    }
}
