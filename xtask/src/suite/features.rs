//! Which features a kernel lacks, found without the code under test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::KernelConfig;

/// The kernel's active security modules.
const ACTIVE_LSMS: &str = "/sys/kernel/security/lsm";

/// Whether a kernel has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has it: a test that skips for it is broken.
    Present,
    /// It lacks it: a test that needs it has to skip.
    Absent,
    /// Nobody wrote down how to tell, or the kernel does not say.
    Unknown,
}

/// How to tell whether the features that tests may skip for are there.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Features(BTreeMap<String, Feature>);

/// All parts that are given must hold for the feature to be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    /// A kernel option that must be set.
    config: Option<String>,
    /// The first kernel with it, as `major.minor`.
    since: Option<String>,
    /// A file that must exist.
    path: Option<PathBuf>,
    /// A security module that must be active.
    lsm: Option<String>,
}

impl Features {
    /// The list in `features.toml`.
    pub(crate) fn load() -> Result<Self> {
        toml::from_str(include_str!("../../features.toml")).context("features.toml is wrong")
    }

    /// Whether the list has the feature.
    #[cfg(test)]
    pub(crate) fn knows(&self, feature: &str) -> bool {
        self.0.contains_key(feature)
    }

    /// Looks for a feature in the kernel of this release, configuration and file tree.
    pub(crate) fn presence(
        &self,
        feature: &str,
        release: &str,
        config: Option<&KernelConfig>,
    ) -> Presence {
        let Some(Feature { config: option, since, path, lsm }) = self.0.get(feature) else {
            return Presence::Unknown;
        };
        let mut answers = vec![];
        if let Some(option) = option {
            answers.push(config.map(|config| config.has(option)));
        }
        if let Some(since) = since {
            answers.push(version(release).zip(version(since)).map(|(have, need)| have >= need));
        }
        if let Some(path) = path {
            answers.push(Some(path.exists()));
        }
        if let Some(lsm) = lsm {
            // Where the list is not shown (securityfs is not mounted), nobody has set one up.
            let active = std::fs::read_to_string(ACTIVE_LSMS).unwrap_or_default();
            answers.push(Some(active.trim().split(',').any(|one| one == lsm)));
        }
        if answers.contains(&Some(false)) {
            Presence::Absent
        } else if answers.contains(&None) || answers.is_empty() {
            Presence::Unknown
        } else {
            Presence::Present
        }
    }
}

/// Major and minor of `6.12.117+deb12-cloud-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Features {
        toml::from_str(
            "netem = { config = 'CONFIG_NET_SCH_NETEM' }\n\
             tcx = { config = 'CONFIG_NET_XGRESS', since = '6.6' }\n\
             dev = { path = '/dev/null' }\nodd = {}\nlsm = { lsm = 'no-such-module' }\n",
        )
        .unwrap()
    }

    #[test]
    fn all_parts_must_hold() {
        let config = KernelConfig::parse("CONFIG_NET_XGRESS=y\n");
        let presence = |feature, release| features().presence(feature, release, Some(&config));
        assert_eq!(presence("netem", "6.18.44"), Presence::Absent);
        assert_eq!(presence("tcx", "6.6.0-rc1"), Presence::Present);
        assert_eq!(presence("tcx", "6.1.0-56-cloud-amd64"), Presence::Absent);
        assert_eq!(presence("dev", "6.1"), Presence::Present);
        assert_eq!(presence("lsm", "6.1"), Presence::Absent);
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        let features = features();
        assert_eq!(features.presence("unheard-of", "6.1.0", None), Presence::Unknown);
        assert_eq!(features.presence("netem", "6.1.0", None), Presence::Unknown);
        assert_eq!(features.presence("tcx", "6.1.0", None), Presence::Absent);
        assert_eq!(features.presence("odd", "6.1.0", None), Presence::Unknown);
    }

    #[test]
    fn the_projects_own_list_is_well_formed() {
        let features = Features::load().unwrap();
        let says = |f: &Feature| {
            f.config.is_some() || f.since.is_some() || f.path.is_some() || f.lsm.is_some()
        };
        assert!(features.0.values().all(says));
        assert!(features.0.values().filter_map(|f| f.since.as_ref()).all(|v| version(v).is_some()));
    }
}
