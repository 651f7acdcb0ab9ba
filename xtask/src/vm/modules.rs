//! Kernel modules: which files, in which order, unpacked.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

/// A module that the guest loads.
#[derive(Debug)]
pub(super) struct Module {
    /// With underscores.
    pub(super) name: String,
    /// The unpacked object.
    pub(super) bytes: Vec<u8>,
}

/// The wanted modules and what they depend on, each after those it needs. Modules that the kernel
/// has built in are passed over; one that it does not have at all is an error.
pub(super) fn closure(folder: &Path, wanted: &[String]) -> Result<Vec<Module>> {
    let files = module_files(&folder.join("kernel"))?;
    let builtin = fs::read_to_string(folder.join("modules.builtin"))
        .with_context(|| format!("cannot read modules.builtin in {}", folder.display()))?;
    let builtin: HashSet<_> =
        builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
    let mut order = Order { files, builtin, seen: HashSet::new(), modules: vec![] };
    for name in wanted {
        order.add(&name.replace('-', "_"))?;
    }
    Ok(order.modules)
}

struct Order {
    files: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
    seen: HashSet<String>,
    modules: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<()> {
        // Marked before its dependencies, so that a circle, which depmod would refuse, ends.
        if self.builtin.contains(name) || !self.seen.insert(name.into()) {
            return Ok(());
        }
        let Some(file) = self.files.get(name) else { bail!("this kernel has no module {name}") };
        let bytes = read(file)?;
        let depends =
            dependencies(&bytes).with_context(|| format!("cannot read {}", file.display()))?;
        for needed in depends {
            self.add(&needed)?;
        }
        self.modules.push(Module { name: name.into(), bytes });
        Ok(())
    }
}

fn module_files(folder: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = module_name(&path) {
                files.insert(name, path);
            }
        }
    }
    Ok(files)
}

/// `…/act-x.ko.xz` is `act_x`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, end) = file.split_once('.')?;
    matches!(end, "ko" | "ko.xz").then(|| name.replace('-', "_"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if file.extension().is_none_or(|end| end != "xz") {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    lzma_rs::xz_decompress(&mut &bytes[..], &mut unpacked)
        .with_context(|| format!("cannot unpack {}", file.display()))?;
    Ok(unpacked)
}

/// `depends=a,b` among the NUL-ended strings of a module's `.modinfo`.
fn dependencies(module: &[u8]) -> Result<Vec<String>> {
    let object = object::File::parse(module)?;
    let section = object.section_by_name(".modinfo").context("it has no .modinfo")?;
    Ok(depends(section.data()?))
}

fn depends(modinfo: &[u8]) -> Vec<String> {
    modinfo
        .split(|&byte| byte == 0)
        .filter_map(|field| field.strip_prefix(b"depends="))
        .flat_map(|names| names.split(|&byte| byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_with_underscores() {
        assert_eq!(module_name(Path::new("/x/af-packet.ko.xz")).unwrap(), "af_packet");
        assert_eq!(module_name(Path::new("kernel/veth.ko")).unwrap(), "veth");
        assert_eq!(module_name(Path::new("modules.order")), None);
    }

    #[test]
    fn dependencies_come_out_of_modinfo() {
        assert_eq!(depends(b"license=GPL\0depends=stp,llc\0name=bridge\0"), ["stp", "llc"]);
        assert!(depends(b"depends=\0").is_empty());
        assert!(depends(b"").is_empty());
    }

    #[test]
    fn garbage_is_no_module() {
        assert!(dependencies(b"\x7fELF").is_err());
        assert!(closure(Path::new("/nonexistent"), &[]).is_err());
    }
}
