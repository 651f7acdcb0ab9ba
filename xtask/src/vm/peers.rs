//! What delays are compared with in a guest: `tc` out of the distribution's archive, and tcconfig
//! from PyPI with the Python that it needs. Unpacked below target/xtask and not installed, so that
//! it does not matter what this machine has.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;

use super::archive::{unpack, with_all_dependencies};
use crate::progress::run_logged;

/// pip is for this machine alone: it unpacks tcconfig.
const PACKAGES: [&str; 3] = ["iproute2", "python3", "python3-pip"];

/// tcconfig and what it needs: versions, and hashes of their wheels.
const REQUIREMENTS: &str = include_str!("../../tcconfig.txt");

/// Where shared libraries are, those of the system and the others.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// Where programs expect the loader.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Where Debian's Python looks for packages.
const GUEST_PACKAGES: &str = "/usr/lib/python3/dist-packages";

const TCSET: &str =
    "#!/usr/bin/python3\nimport sys\nfrom tcconfig.tcset import main\nsys.exit(main())\n";

/// Something in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuestFile {
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    CopyOf(PathBuf),
    LinkTo(String),
    Program(&'static str),
}

/// An unpacked `tc`, Python and tcconfig.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The distribution's files, at the paths that they would be installed to.
    root: PathBuf,
    /// Python packages.
    packages: PathBuf,
}

impl Peers {
    /// Takes them from the build folder, or from the archive and PyPI once.
    pub(crate) fn fetch(layout: &Layout) -> Result<Self> {
        let folder = layout.target().join("xtask/peers");
        let peers = Self { root: folder.join("root"), packages: folder.join("packages") };
        // It holds what was asked for then.
        let complete = folder.join("complete");
        if fs::read_to_string(&complete).is_ok_and(|had| had == REQUIREMENTS) {
            return Ok(peers);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let needed = with_all_dependencies(layout, &PACKAGES)?;
        unpack(layout, "tc and Python", &needed, &folder)?;
        peers.unpack_tcconfig(layout, &folder)?;
        // Written last: a folder without it is fetched again.
        fs::write(&complete, REQUIREMENTS)
            .with_context(|| format!("cannot write {}", complete.display()))?;
        Ok(peers)
    }

    fn unpack_tcconfig(&self, layout: &Layout, folder: &Path) -> Result<()> {
        let requirements = folder.join("tcconfig.txt");
        fs::write(&requirements, REQUIREMENTS)
            .with_context(|| format!("cannot write {}", requirements.display()))?;
        let mut pip = self.python()?;
        pip.args(["-m", "pip", "install", "--no-deps", "--require-hashes", "--no-compile"])
            .args(["--only-binary", ":all:", "--platform", "any"])
            .args(["--implementation", "py", "--abi", "none", "--root-user-action", "ignore"])
            .arg("--target")
            .arg(&self.packages)
            .arg("--requirement")
            .arg(&requirements);
        run_logged(layout, "download tcconfig", &mut pip)?.success()?;
        // Emulated, compiling takes a minute. Nobody asks whether the sources are newer: in an
        // initramfs no file has a time.
        let mut compile = self.python()?;
        compile.args(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]);
        compile.arg(self.library()?).arg(&self.packages);
        run_logged(layout, "compile tcconfig", &mut compile)?.success()?;
        Ok(())
    }

    /// The unpacked Python, with its own libraries instead of this machine's.
    fn python(&self) -> Result<Command> {
        let mut path = OsString::new();
        for (number, folder) in LIBRARIES.iter().enumerate() {
            path.push(if number == 0 { "" } else { ":" });
            path.push(self.root.join(folder));
        }
        let mut command = Command::new(self.root.join(self.loader()?));
        command.arg("--library-path").arg(path).arg(self.root.join("usr/bin/python3"));
        command.env("PYTHONHOME", self.root.join("usr")).env_remove("PYTHONPATH");
        Ok(command)
    }

    /// The loader, below the root.
    fn loader(&self) -> Result<PathBuf> {
        let name = Path::new(LOADER).file_name().context("the loader has no name")?;
        let places = LIBRARIES.map(|folder| Path::new(folder).join(name));
        let found = places.into_iter().find(|place| self.root.join(place).exists());
        found.with_context(|| format!("there is no loader in {}", self.root.display()))
    }

    /// The folder of Python's own modules, whose name has its version.
    fn library(&self) -> Result<PathBuf> {
        let version = entries(&self.root.join("usr/lib"))?.into_iter().find(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| name.starts_with("python3."))
        });
        version.with_context(|| format!("there is no Python in {}", self.root.display()))
    }

    /// What a guest needs of them, and where it has it.
    pub(super) fn files(&self) -> Result<Vec<GuestFile>> {
        let mut files = vec![
            GuestFile {
                path: LOADER.into(),
                content: Content::LinkTo(format!("/{}", self.loader()?.display())),
            },
            // Before what busybox has of the same name.
            GuestFile { path: "/usr/local/bin/tc".into(), content: Content::CopyOf(self.tc()?) },
            GuestFile { path: "/usr/local/bin/tcset".into(), content: Content::Program(TCSET) },
        ];
        for folder in LIBRARIES {
            let shared = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
            };
            for library in entries(&self.root.join(folder))?.into_iter().filter(shared) {
                if !library.is_dir() {
                    files.push(as_it_is(&library, self.in_guest(&library)?));
                }
            }
        }
        for program in entries(&self.root.join("usr/bin"))? {
            if program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
            {
                files.push(as_it_is(&program, self.in_guest(&program)?));
            }
        }
        let library = self.library()?;
        below(&library, &self.in_guest(&library)?, &mut files)?;
        below(&self.packages, Path::new(GUEST_PACKAGES), &mut files)?;
        Ok(files)
    }

    fn tc(&self) -> Result<PathBuf> {
        let places = ["sbin/tc", "usr/sbin/tc"].map(|place| self.root.join(place));
        let found = places.into_iter().find(|place| place.is_file());
        found.with_context(|| format!("there is no tc in {}", self.root.display()))
    }

    fn in_guest(&self, path: &Path) -> Result<PathBuf> {
        let below = path.strip_prefix(&self.root).context("a file outside of its folder")?;
        Ok(Path::new("/").join(below))
    }
}

/// Sorted, so that equal folders make equal guests.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = list().with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort_unstable();
    Ok(paths)
}

/// A copy of a file, or the same symbolic link.
fn as_it_is(from: &Path, path: PathBuf) -> GuestFile {
    let content = match fs::read_link(from) {
        Ok(target) => Content::LinkTo(target.to_string_lossy().into_owned()),
        Err(_) => Content::CopyOf(from.into()),
    };
    GuestFile { path, content }
}

/// Everything below a folder.
fn below(folder: &Path, to: &Path, files: &mut Vec<GuestFile>) -> Result<()> {
    for path in entries(folder)? {
        let to = to.join(path.file_name().context("a file without a name")?);
        if path.is_dir() && !path.is_symlink() {
            below(&path, &to, files)?;
        } else {
            files.push(as_it_is(&path, to));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_wheel_has_a_version_and_a_hash() {
        let lines: Vec<&str> = REQUIREMENTS.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.iter().any(|line| line.starts_with("tcconfig==")));
        for line in lines {
            let (wanted, hash) = line.split_once(" --hash=sha256:").unwrap();
            assert!(wanted.split_once("==").is_some_and(|(_, version)| !version.is_empty()));
            assert!(
                hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{line}"
            );
        }
    }

    #[test]
    fn a_guest_gets_what_it_runs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let peers =
            Peers { root: folder.path().join("root"), packages: folder.path().join("packages") };
        let loader = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
        let there = [
            loader,
            "sbin/tc",
            "usr/bin/python3.11",
            "usr/bin/perl",
            "usr/lib/python3.11/os.py",
            "usr/lib/python3/dist-packages/pip/main.py",
            "usr/lib/x86_64-linux-gnu/libmnl.so.0.2",
            "usr/lib/x86_64-linux-gnu/perl-base/x.so",
            "../packages/tcconfig/tcset.py",
        ];
        for file in there {
            let path = peers.root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        symlink("python3.11", peers.root.join("usr/bin/python3")).unwrap();
        let files = peers.files().unwrap();
        let shown: Vec<&str> = files.iter().map(|one| one.path.to_str().unwrap()).collect();
        let expected = [
            LOADER,
            "/usr/local/bin/tc",
            "/usr/local/bin/tcset",
            "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "/usr/lib/x86_64-linux-gnu/libmnl.so.0.2",
            "/usr/bin/python3",
            "/usr/bin/python3.11",
            "/usr/lib/python3.11/os.py",
            "/usr/lib/python3/dist-packages/tcconfig/tcset.py",
        ];
        assert_eq!(shown, expected);
        assert_eq!(files[0].content, Content::LinkTo(format!("/{loader}")));
        assert_eq!(files[5].content, Content::LinkTo("python3.11".into()));
    }
}
