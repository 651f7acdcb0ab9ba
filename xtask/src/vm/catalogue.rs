//! `kernels.toml`.

use anyhow::{Context as _, Result, bail};
use chaos_suite::Suite;
use serde::Deserialize;

use crate::suite::Presence;

/// The kernels that VMs can boot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    kernel: Vec<KernelEntry>,
    guest: Guest,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KernelEntry {
    /// What it is called here, such as `6.1`.
    pub(crate) name: String,
    /// The name of its package, `*` standing for anything.
    pub(crate) package: String,
    /// The features it lacks.
    missing: Vec<String>,
    /// Suites, or modules of suites, that another kernel runs when all of them run everything.
    elsewhere: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guest {
    modules: Vec<String>,
}

impl Catalogue {
    /// Reads it.
    pub(crate) fn load() -> Result<Self> {
        toml::from_str(include_str!("../../kernels.toml")).context("kernels.toml is wrong")
    }

    /// The kernel of this name, or all of them.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<Vec<&KernelEntry>> {
        let chosen: Vec<_> = self
            .kernel
            .iter()
            .filter(|kernel| name.is_none_or(|name| kernel.name == name))
            .collect();
        if chosen.is_empty() {
            let names: Vec<_> = self.kernel.iter().map(|kernel| kernel.name.as_str()).collect();
            bail!("no kernel {}; there are {}", name.unwrap_or("at all"), names.join(", "));
        }
        Ok(chosen)
    }

    /// The modules that the guest loads.
    pub(crate) fn modules(&self) -> &[String] {
        &self.guest.modules
    }
}

impl KernelEntry {
    /// What of a suite this kernel runs when all kernels run everything.
    pub(crate) fn share(&self, suite: &Suite) -> Option<Suite> {
        let left = self.elsewhere.iter().filter_map(|one| {
            let (name, module) = one.split_once("::").unwrap_or((one, ""));
            (name == suite.name).then_some(module)
        });
        let without: Vec<String> = left.map(String::from).collect();
        (!without.contains(&String::new())).then(|| Suite { without, ..suite.clone() })
    }

    /// Whether this kernel has a feature: it has what it is not said to lack.
    pub(crate) fn presence(&self, feature: &str) -> Presence {
        if self.missing.iter().any(|missing| missing == feature) {
            Presence::Absent
        } else {
            Presence::Present
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::suite::Features;

    #[test]
    fn the_projects_own_list_is_well_formed() {
        let catalogue = Catalogue::load().unwrap();
        assert_eq!(catalogue.select(None).unwrap().len(), 2);
        assert_eq!(catalogue.select(Some("6.12")).unwrap()[0].name, "6.12");
        let error = catalogue.select(Some("2.4")).unwrap_err().to_string();
        assert_eq!(error, "no kernel 2.4; there are 6.1, 6.12");
    }

    #[test]
    fn what_one_kernel_leaves_another_runs() {
        let kernels = Catalogue::load().unwrap().kernel;
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chaos-user/tests");
        for one in kernels.iter().flat_map(|kernel| &kernel.elsewhere) {
            let (name, module) = one.split_once("::").unwrap_or((one, "main"));
            let files = [format!("{name}.rs"), format!("{name}/{module}.rs")];
            assert!(files.iter().any(|file| tests.join(file).exists()), "{one}");
            let suite = Suite {
                name: name.into(),
                program: PathBuf::new(),
                directory: PathBuf::new(),
                without: Vec::new(),
            };
            let runs = |kernel: &KernelEntry| {
                let share = kernel.share(&suite);
                share.is_some_and(|share| share.without.iter().all(|left| left != module))
            };
            assert!(kernels.iter().any(runs), "{one}");
        }
    }

    #[test]
    fn every_missing_feature_is_a_known_one() {
        let features = Features::load().unwrap();
        for kernel in Catalogue::load().unwrap().kernel {
            for feature in &kernel.missing {
                assert!(features.knows(feature), "{feature} of {}", kernel.name);
                assert_eq!(kernel.presence(feature), Presence::Absent);
            }
            assert_eq!(kernel.presence("moonlight"), Presence::Present);
        }
    }
}
