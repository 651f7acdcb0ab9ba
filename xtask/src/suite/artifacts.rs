//! Finds the executables in cargo's JSON messages.

use std::path::PathBuf;

use serde::Deserialize;

/// An executable that cargo has built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The name of its target.
    pub(crate) name: String,
    /// The executable.
    pub(crate) path: PathBuf,
    /// The folder of its package.
    pub(crate) package: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The executables of targets of this kind (`test`, `bin`, `bench`), in cargo's order.
pub(crate) fn executables(messages: &str, kind: &str) -> Vec<Executable> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| {
            let target = message.target.filter(|target| target.kind.iter().any(|k| k == kind))?;
            Some(Executable {
                name: target.name,
                path: message.executable?,
                package: message.manifest_path?.parent()?.to_path_buf(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_among_other_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"kind":["lib"],"name":"a"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"kind":["test"],"name":"t"},"executable":"/w/target/t-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        let expected =
            Executable { name: "t".into(), path: "/w/target/t-1".into(), package: "/w/a".into() };
        assert_eq!(executables(messages, "test"), [expected]);
        assert!(executables(messages, "bench").is_empty());
    }
}
