//! The Rust files of the workspace, its manifests, and what it promises.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;

/// A file, by its path from the workspace's root.
#[derive(Debug)]
pub(super) struct Source {
    /// From the workspace's root.
    pub(super) path: PathBuf,
    /// All of it.
    pub(super) text: String,
}

impl Source {
    /// The lines before the test module, with their numbers from 1; comments are left out. A file
    /// that is a test module by its name has none.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        let text = if stem.ends_with("tests") { "" } else { &self.text };
        text.lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Reads every `.rs` file, every `Cargo.toml` and SECURITY.md outside build folders and hidden ones, in order of path.
pub(super) fn read_all(layout: &Layout) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![layout.root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind =
                entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
            if kind.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if kind.is_file()
                && (name.ends_with(".rs") || name == "Cargo.toml" || name == "SECURITY.md")
            {
                sources.push(read(layout.root(), &path)?);
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn read(root: &Path, path: &Path) -> Result<Source> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { path: path.strip_prefix(root).unwrap_or(path).into(), text })
}
