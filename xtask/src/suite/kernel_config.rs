//! What a kernel was built with.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;

/// Options that are set, to `y`, `m` or a value.
#[derive(Debug, Default)]
pub(crate) struct KernelConfig(HashMap<String, String>);

impl KernelConfig {
    /// The running kernel's, if it tells.
    pub(crate) fn of_this_kernel() -> Option<Self> {
        let release = nix::sys::utsname::uname().ok()?.release().to_string_lossy().into_owned();
        let packed = fs::read("/proc/config.gz").ok();
        let unpacked = packed.and_then(|packed| {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).ok()?;
            Some(text)
        });
        let text =
            unpacked.or_else(|| fs::read_to_string(format!("/boot/config-{release}")).ok())?;
        let modules =
            fs::read_to_string(format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
        Some(Self::parse(&text).without_absent_modules(&modules))
    }

    /// Reads `CONFIG_X=value` lines.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| line.starts_with("CONFIG_"))
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.into(), value.trim().into()))
                .collect(),
        )
    }

    /// A kernel that was built with modules nobody installed does not have them.
    fn without_absent_modules(mut self, modules_dep: &str) -> Self {
        if modules_dep.is_empty() {
            self.0.retain(|_, value| value != "m");
        }
        self
    }

    /// Whether the option is set.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.contains_key(option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# CONFIG_NET_SCH_NETEM is not set\nCONFIG_TUN=y\nCONFIG_VETH=m\n\n";

    #[test]
    fn unset_options_are_not_there() {
        let config = KernelConfig::parse(TEXT);
        assert!(config.has("CONFIG_TUN") && config.has("CONFIG_VETH"));
        assert!(!config.has("CONFIG_NET_SCH_NETEM") && !config.has("CONFIG_NOTHING"));
    }

    #[test]
    fn modules_that_are_not_installed_do_not_count() {
        let config = KernelConfig::parse(TEXT).without_absent_modules("");
        assert!(config.has("CONFIG_TUN") && !config.has("CONFIG_VETH"));
        let config = KernelConfig::parse(TEXT).without_absent_modules("kernel/veth.ko:\n");
        assert!(config.has("CONFIG_VETH"));
    }
}
