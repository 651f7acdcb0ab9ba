//! A Rust file that no `mod` names is never compiled, and nobody notices.

use std::path::{Path, PathBuf};

use super::Source;

/// Files under a `src` folder that their parent module does not declare.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| source.path.extension().is_some_and(|end| end == "rs"))
        .filter(|source| source.path.components().any(|part| part.as_os_str() == "src"))
        .filter(|source| !is_root(&source.path, sources) && !is_declared(&source.path, sources))
        .map(|source| format!("{}: no `mod` declares this file", source.path.display()))
        .collect()
}

/// Crate roots: those that cargo finds by itself, and those that a manifest names.
fn is_root(path: &Path, sources: &[Source]) -> bool {
    let named = |manifest: &Source| {
        let file = manifest.path.parent().and_then(|package| path.strip_prefix(package).ok());
        file.is_some_and(|file| {
            let line = format!("path = \"{}\"", file.display());
            manifest.text.lines().any(|text| text.trim() == line)
        })
    };
    let manifests = sources.iter().filter(|source| source.path.ends_with("Cargo.toml"));
    cargo_finds(path) || manifests.into_iter().any(named)
}

fn cargo_finds(path: &Path) -> bool {
    let in_folder = |name| path.parent().is_some_and(|parent| parent.ends_with(name));
    (in_folder("src") && (path.ends_with("lib.rs") || path.ends_with("main.rs")))
        || in_folder("src/bin")
}

fn is_declared(path: &Path, sources: &[Source]) -> bool {
    is_declared_by_name(path, sources) || is_declared_by_path(path, sources)
}

/// `#[path = "x_tests.rs"]` in a file of the same folder.
fn is_declared_by_path(path: &Path, sources: &[Source]) -> bool {
    let Some(name) = path.file_name() else { return false };
    let attribute = format!("#[path = \"{}\"]", name.display());
    sources
        .iter()
        .filter(|source| source.path.parent() == path.parent())
        .any(|source| source.text.lines().any(|line| line.trim() == attribute))
}

fn is_declared_by_name(path: &Path, sources: &[Source]) -> bool {
    let (Some(module), Some(folder)) = (module_name(path), module_folder(path)) else {
        return false;
    };
    let beside = folder.file_name().map(|name| folder.with_file_name(name).with_extension("rs"));
    let parents: Vec<PathBuf> = ["mod.rs", "lib.rs", "main.rs"]
        .iter()
        .map(|name| folder.join(name))
        .chain(beside)
        .collect();
    sources
        .iter()
        .filter(|source| parents.contains(&source.path))
        .flat_map(|source| source.text.lines())
        .any(|line| declares(line, &module))
}

/// `a/b.rs` and `a/b/mod.rs` are the module `b`.
fn module_name(path: &Path) -> Option<String> {
    let named =
        if path.ends_with("mod.rs") { path.parent()?.file_name() } else { path.file_stem() };
    Some(named?.to_string_lossy().into_owned())
}

/// The folder of the module that has to declare it.
fn module_folder(path: &Path) -> Option<&Path> {
    if path.ends_with("mod.rs") { path.parent()?.parent() } else { path.parent() }
}

fn declares(line: &str, module: &str) -> bool {
    let line = line.trim();
    line.strip_suffix([';', '{'])
        .and_then(|declaration| declaration.trim().strip_suffix(module))
        .is_some_and(|before| before.ends_with("mod "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn every_way_to_declare_is_known() {
        let sources = [
            source("a/src/lib.rs", "mod one;\npub(crate) mod two;\n"),
            source("a/src/one.rs", "mod deep;"),
            source("a/src/one/deep.rs", ""),
            source("a/src/two/mod.rs", "pub mod part;"),
            source("a/src/two/part.rs", ""),
            source("a/src/bin/tool.rs", ""),
            source("a/tests/anything.rs", ""),
        ];
        assert_eq!(check(&sources), Vec::<String>::new());
    }

    #[test]
    fn a_manifest_names_crate_roots() {
        let sources = [
            source("a/Cargo.toml", "[[bin]]\nname = \"x\"\npath = \"src/x.rs\"\n"),
            source("a/src/x.rs", ""),
            source("b/src/x.rs", ""),
        ];
        assert_eq!(check(&sources), ["b/src/x.rs: no `mod` declares this file"]);
    }

    #[test]
    fn a_path_attribute_declares_within_its_folder() {
        let parent = "#[cfg(test)]\n#[path = \"one_tests.rs\"]\nmod tests;\n";
        let sources = |folder: &str| {
            [
                source("a/src/lib.rs", "mod one;\nmod b;"),
                source("a/src/b/mod.rs", ""),
                source("a/src/one.rs", parent),
                source(&format!("a/src/{folder}one_tests.rs"), ""),
            ]
        };
        assert_eq!(check(&sources("")), Vec::<String>::new());
        assert_eq!(check(&sources("b/")).len(), 1);
    }

    #[test]
    fn a_forgotten_file_is_found() {
        let sources =
            [source("a/src/lib.rs", "mod ones;\n// mod one\n"), source("a/src/one.rs", "")];
        assert_eq!(check(&sources), ["a/src/one.rs: no `mod` declares this file"]);
    }
}
