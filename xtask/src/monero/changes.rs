//! The experiments with the changes of `examples/marketplace/monero.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// Stands for the path of the lab in a change.
const LAB: &str = "LAB";

/// The experiments by name, changed.
#[derive(Debug)]
pub(crate) struct Catalogue(BTreeMap<String, String>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    change: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    r#in: Vec<String>,
    #[expect(dead_code, reason = "for who reads the file")]
    why: String,
    from: String,
    to: String,
}

impl Catalogue {
    /// Reads and changes the experiments of the workspace at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let place = root.join("examples/marketplace");
        let path = place.join("monero.toml");
        let changes: Changes = toml::from_str(&read(&path)?)
            .with_context(|| format!("{} is not understood", path.display()))?;
        let lab = place.join("lab-monero.yaml").display().to_string();
        let folder = root.join("experiments");
        let mut all = BTreeMap::new();
        for entry in folder.read_dir().context("cannot read the folder of the experiments")? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "yaml")
                && let Some(name) = path.file_stem()
            {
                all.insert(name.to_string_lossy().into_owned(), read(&path)?);
            }
        }
        for change in &changes.change {
            change.check(&all)?;
        }
        for (name, text) in &mut all {
            *text = changed(name, text, &changes.change)?.replace(
                &format!("lab: {LAB}"),
                // A path with odd characters is still one text.
                &format!("lab: {}", serde_json::to_string(&lab)?),
            );
        }
        Ok(Self(all))
    }

    /// Writes them into `folder`. `arguments` of `chaos run` that are names become paths; the
    /// others are the paths of all, which are meant without a name.
    pub(crate) fn write(
        &self,
        folder: &Path,
        arguments: &[String],
    ) -> Result<(Vec<String>, Vec<String>)> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let path = |name: &str| folder.join(format!("{name}.yaml"));
        for (name, text) in &self.0 {
            let path = path(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let shown = |name: &String| path(name).display().to_string();
        let all = || self.0.keys().map(shown);
        let mut given = Vec::new();
        for argument in arguments {
            match argument.as_str() {
                "all" => given.extend(all()),
                name if self.0.contains_key(name) => given.push(shown(argument)),
                _ => given.push(argument.clone()),
            }
        }
        Ok((given, all().collect()))
    }
}

impl Change {
    fn is_for_all(&self) -> bool {
        self.r#in.iter().any(|name| name == "all")
    }

    fn check(&self, experiments: &BTreeMap<String, String>) -> Result<()> {
        let unknown =
            self.r#in.iter().find(|name| !self.is_for_all() && !experiments.contains_key(*name));
        ensure!(unknown.is_none(), "monero.toml changes {unknown:?}, which is no experiment");
        Ok(())
    }
}

fn changed(name: &str, text: &str, changes: &[Change]) -> Result<String> {
    let mut text = text.to_owned();
    for change in changes {
        let named = change.r#in.iter().any(|other| other == name);
        if !named && !change.is_for_all() {
            continue;
        }
        let there = text.contains(&change.from);
        ensure!(
            there || !named,
            "monero.toml changes `{}` of {name}, which no longer says so",
            change.from
        );
        text = text.replace(&change.from, &change.to);
    }
    ensure!(
        text.contains(&format!("lab: {LAB}")),
        "{name} does not use a lab that monero.toml replaces"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn the_whole_catalogue_is_there_with_the_lab_of_real_wallets() {
        let Catalogue(all) = Catalogue::read(root()).unwrap();
        assert_eq!(all.len(), 11);
        for (name, text) in &all {
            assert_eq!(text.matches("lab-monero.yaml").count(), 1, "{name}");
            assert!(!text.contains("timeout: 20s"), "{name}");
        }
    }

    #[test]
    fn a_change_whose_text_is_gone_is_an_error() {
        let change = |within: &str| Change {
            r#in: vec![within.to_owned()],
            why: String::new(),
            from: "users: 40".to_owned(),
            to: "users: 4".to_owned(),
        };
        let text = "lab: LAB\nusers: 40\n";
        assert_eq!(changed("a", text, &[change("a")]).unwrap(), "lab: LAB\nusers: 4\n");
        assert_eq!(changed("a", text, &[change("b")]).unwrap(), text);
        assert!(changed("a", "lab: LAB\n", &[change("a")]).is_err());
        assert!(changed("a", "lab: LAB\n", &[change("all")]).is_ok());
        assert!(change("c").check(&BTreeMap::new()).is_err());
    }

    #[test]
    fn names_become_paths_and_options_stay() {
        let folder = tempfile::tempdir().unwrap();
        let all =
            Catalogue(BTreeMap::from([("rpc".into(), "a".into()), ("pool".into(), "b".into())]));
        let write = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|&word| word.to_owned()).collect();
            let (paths, every) = all.write(folder.path(), &given).unwrap();
            let short = |path: String| path.replace(&format!("{}/", folder.path().display()), "");
            let every: Vec<String> = every.into_iter().map(short).collect();
            assert_eq!(every, ["pool.yaml", "rpc.yaml"]);
            paths.into_iter().map(short).collect::<Vec<_>>()
        };
        assert!(write(&[]).is_empty());
        assert_eq!(write(&["--seed", "7"]), ["--seed", "7"]);
        assert_eq!(write(&["rpc", "--seed", "7"]), ["rpc.yaml", "--seed", "7"]);
        assert_eq!(write(&["all"]), ["pool.yaml", "rpc.yaml"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("rpc.yaml")).unwrap(), "a");
    }
}
