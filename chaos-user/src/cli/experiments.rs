//! Finding experiments by file or by name.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::UsageError;
use super::told::told;
use crate::experiment::{Experiment, units};
use crate::host::read_text;
use crate::lab::LabSpec;

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// An experiment that reads, and where it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) experiment: Experiment,
    pub(super) lab: Option<LabSpec>,
}

/// The folders that names are looked up in: `./experiments`, then that of the workspace which the
/// executable was built in.
fn folders() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok();
    let workspace = executable.iter().flat_map(|path| path.ancestors().skip(1).take(4));
    let built = workspace.map(|folder| folder.join("experiments"));
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in std::iter::once(PathBuf::from("experiments")).chain(built) {
        let same = |known: &PathBuf| known.canonicalize().ok() == folder.canonicalize().ok();
        if folder.is_dir() && !folders.iter().any(same) {
            folders.push(folder);
        }
    }
    folders
}

/// Every experiment file with a name, in the order of the names; the first folder wins.
pub(super) fn known() -> Vec<(String, PathBuf)> {
    let mut all: Vec<(String, PathBuf)> = Vec::new();
    for folder in folders() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let ending = path.extension().and_then(|ending| ending.to_str());
            let fits = ending.is_some_and(|ending| ENDINGS.contains(&ending));
            let name = name_of(&path);
            if fits && path.is_file() && !all.iter().any(|(known, _)| *known == name) {
                all.push((name, path));
            }
        }
    }
    all.sort();
    all
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file that was meant: a path, or a name.
pub(super) fn find(given: &str) -> anyhow::Result<(String, PathBuf)> {
    let path = PathBuf::from(given);
    if path.is_file() {
        return Ok((name_of(&path), path));
    }
    let known = known();
    if let Some(found) = known.iter().find(|(name, _)| name == given) {
        return Ok(found.clone());
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let nearest = units::nearest(given, names.iter().copied());
    let nearest = nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let looked: Vec<String> = folders().iter().map(|folder| folder.display().to_string()).collect();
    let looked = if looked.is_empty() { "./experiments".to_owned() } else { looked.join(" and ") };
    Err(UsageError(format!(
        "`{given}` is neither a file nor an experiment in {looked}{nearest} (`chaos list` shows all)"
    ))
    .into())
}

/// Reads and checks an experiment and its lab. Touches nothing.
pub(super) fn load(name: String, path: PathBuf) -> anyhow::Result<Found> {
    let text = read_text(&path)
        .with_context(|| format!("read the experiment {}", path.display()))
        .map_err(|error| UsageError(told(&error)))?;
    let experiment =
        Experiment::parse(&text, &path).map_err(|error| UsageError(error.to_string()))?;
    let lab = match &experiment.lab {
        None => {
            if !experiment.namespaces.is_empty() {
                let nodes: Vec<String> = experiment.namespaces.keys().cloned().collect();
                let checked = experiment.check_nodes(&path, &nodes);
                checked.map_err(|error| UsageError(error.to_string()))?;
            }
            None
        }
        Some(lab) => {
            let file = folder_of(&path).join(lab);
            let spec = LabSpec::read(&file).map_err(|error| UsageError(error.to_string()))?;
            let nodes: Vec<String> = spec.nodes().iter().map(|node| node.name.clone()).collect();
            let checked = experiment.check_nodes(&path, &nodes);
            checked.map_err(|error| UsageError(error.to_string()))?;
            Some(spec)
        }
    };
    Ok(Found { name, path, experiment, lab })
}

/// What an experiment's relative paths are relative to.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
