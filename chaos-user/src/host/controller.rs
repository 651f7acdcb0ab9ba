//! Controllers of cgroups (v2): what can be limited.

use std::fs;
use std::path::{Path, PathBuf};

use super::Cgroups;
use crate::plan::CgroupRef;

/// Why something of a cgroup cannot be limited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// The hierarchy does not have it.
    #[error(
        "cgroup v2 (at {}) does not have the controller `{controller}` on this host: it is used by \
         cgroup v1, or the kernel has none; boot with `systemd.unified_cgroup_hierarchy=1` or \
         `cgroup_no_v1={controller}`",
        root.display()
    )]
    Absent {
        /// Which.
        controller: &'static str,
        /// Where the hierarchy is.
        root: PathBuf,
    },
    /// The cgroup does not have it.
    #[error(
        "the controller `{controller}` is not enabled for the cgroup {}: write `+{controller}` to \
         cgroup.subtree_control of the one above it, or for a unit set {} (systemd.resource-control)",
        cgroup.display(),
        accounting(controller)
    )]
    NotEnabled {
        /// Which.
        controller: &'static str,
        /// Where.
        cgroup: PathBuf,
    },
    /// The controller cannot limit.
    #[error(
        "this kernel has the controller `{controller}` without `{file}` (CONFIG_CFS_BANDWIDTH, \
         CONFIG_MEMCG and CONFIG_BLK_DEV_THROTTLING make the limits)"
    )]
    NoLimit {
        /// Which.
        controller: &'static str,
        /// The limit's file.
        file: &'static str,
    },
}

fn accounting(controller: &str) -> &'static str {
    match controller {
        "cpu" => "CPUAccounting=yes",
        "memory" => "MemoryAccounting=yes",
        _ => "IOAccounting=yes",
    }
}

impl Cgroups {
    /// Whether the limit in this file can be set for a cgroup; if not, why.
    pub fn check_limit(
        &self,
        cgroup: &CgroupRef,
        controller: &'static str,
        file: &'static str,
    ) -> Result<(), ControllerError> {
        if cgroup.path.join(file).exists() {
            return Ok(());
        }
        let root = self.root().to_owned();
        if !lists(&root, controller) {
            return Err(ControllerError::Absent { controller, root });
        }
        // What is listed here has been enabled by the one above.
        if !lists(&cgroup.path, controller) {
            return Err(ControllerError::NotEnabled { controller, cgroup: cgroup.path.clone() });
        }
        Err(ControllerError::NoLimit { controller, file })
    }

    /// Those of these controllers that the hierarchy does not have.
    pub fn without<'a>(&self, controllers: &[&'a str]) -> Vec<&'a str> {
        controllers.iter().copied().filter(|one| !lists(self.root(), one)).collect()
    }
}

/// Whether a cgroup's list of controllers has this one.
fn lists(cgroup: &Path, controller: &str) -> bool {
    let text = fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap_or_default();
    text.split_ascii_whitespace().any(|one| one == controller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("shop")).unwrap();
        let cgroup = CgroupRef { path: at("shop"), id: 1, level: 1 };
        let cgroups = Cgroups::at(folder.path().to_owned());
        let check = || cgroups.check_limit(&cgroup, "cpu", "cpu.max");
        fs::write(at("cgroup.controllers"), "cpuset memory\n").unwrap();
        assert!(matches!(check(), Err(ControllerError::Absent { .. })), "cpuset is not cpu");
        assert_eq!(cgroups.without(&["cpu", "memory"]), ["cpu"]);
        fs::write(at("cgroup.controllers"), "cpu memory\n").unwrap();
        let error = check().unwrap_err();
        assert!(matches!(error, ControllerError::NotEnabled { .. }), "{error}");
        assert!(error.to_string().contains("CPUAccounting=yes"), "{error}");
        fs::write(at("shop/cgroup.controllers"), "cpu\n").unwrap();
        assert!(matches!(check(), Err(ControllerError::NoLimit { .. })));
        fs::write(at("shop/cpu.max"), "max 100000\n").unwrap();
        assert_eq!(check(), Ok(()));
    }
}
