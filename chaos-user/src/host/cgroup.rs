//! Cgroups (v2): by path, by systemd unit, by process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::experiment::units::nearest;
use crate::plan::CgroupRef;

/// Why a cgroup could not be chosen.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No v2 hierarchy.
    #[error(
        "no cgroup v2 hierarchy is mounted on this host, so nothing can be chosen by cgroup, unit or process; mount one (`cgroup2` in /proc/filesystems) or choose by address and port"
    )]
    NotMounted,
    /// No such folder.
    #[error("there is no cgroup `{given}` below {}{}", root.display(), did_you_mean(.nearest.as_ref()))]
    Missing {
        /// What was given.
        given: String,
        /// Where it was looked for.
        root: PathBuf,
        /// The most similar one.
        nearest: Option<String>,
    },
    /// No cgroup of this unit.
    #[error("no systemd unit `{given}` has a cgroup here: it is not running, or there is no such unit{}", did_you_mean(.nearest.as_ref()))]
    NoUnit {
        /// What was given.
        given: String,
        /// The most similar one.
        nearest: Option<String>,
    },
    /// The root would be everything.
    #[error(
        "`{given}` is the root cgroup, which holds every process of the host; name one below it, or leave the cgroup out to choose all traffic"
    )]
    Root {
        /// What was given.
        given: String,
    },
    /// No such process.
    #[error("there is no process {pid}")]
    NoProcess {
        /// What was given.
        pid: u32,
    },
    /// Others would be hit.
    #[error("process {pid} shares the cgroup {} with {} other processes ({}), which would all be hit; start it in one of its own (`systemd-run --scope COMMAND`), or name the whole cgroup", cgroup.display(), others.len(), sample(.others))]
    Shared {
        /// What was given.
        pid: u32,
        /// Its cgroup.
        cgroup: PathBuf,
        /// Names of other processes.
        others: Vec<String>,
    },
    /// A member is elsewhere.
    #[error("process {pid} of the cgroup {} is in another network namespace than the rules; choose its namespace with --netns {pid}", cgroup.display())]
    OtherNamespace {
        /// The cgroup.
        cgroup: PathBuf,
        /// A process of it.
        pid: u32,
    },
    /// A file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// The errno.
        #[source]
        source: io::Error,
    },
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn sample(names: &[String]) -> String {
    let shown = names.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 4 { shown + ", …" } else { shown }
}

/// The v2 hierarchy of this host, unified or beside a v1 one.
#[derive(Debug, Clone)]
pub struct Cgroups {
    root: PathBuf,
}

impl Cgroups {
    /// Finds the mounted hierarchy.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = read("/proc/self/mounts")?;
        mounts
            .lines()
            .find_map(|line| {
                let mut fields = line.split(' ');
                let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
                (kind == "cgroup2").then(|| Self { root: PathBuf::from(place) })
            })
            .ok_or(CgroupError::NotMounted)
    }

    /// As if it were mounted there.
    #[cfg(test)]
    pub(super) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// By path: absolute as in the file system, or as /proc/PID/cgroup prints it.
    pub fn by_path(&self, given: &str) -> Result<CgroupRef, CgroupError> {
        let path = Path::new(given);
        let inside = path
            .strip_prefix(&self.root)
            .unwrap_or_else(|_| path.strip_prefix("/").unwrap_or(path));
        let escapes =
            inside.components().any(|part| !matches!(part, std::path::Component::Normal(_)));
        let full = self.root.join(inside);
        if escapes || !full.is_dir() {
            let names = self.all();
            let nearest = nearest(given.trim_start_matches('/'), names.iter().map(String::as_str))
                .map(Into::into);
            return Err(CgroupError::Missing {
                given: given.into(),
                root: self.root.clone(),
                nearest,
            });
        }
        let level = inside.components().count();
        if level == 0 {
            return Err(CgroupError::Root { given: given.into() });
        }
        let id = fs::metadata(&full).map_err(at(&full))?.ino();
        Ok(CgroupRef { path: full, id, level: level.min(254) as u8 })
    }

    /// By unit name: systemd gives every running service and scope a cgroup of its name. A name
    /// without a suffix is a service.
    pub fn by_unit(&self, given: &str) -> Result<CgroupRef, CgroupError> {
        let wanted =
            if given.contains('.') { given.to_owned() } else { format!("{given}.service") };
        let names = self.all();
        let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        match names.iter().find(|path| base(path) == wanted) {
            Some(path) => self.by_path(path),
            None => {
                let units: Vec<_> = names.iter().map(|path| base(path)).collect();
                let nearest = nearest(&wanted, units.iter().map(String::as_str)).map(Into::into);
                Err(CgroupError::NoUnit { given: given.into(), nearest })
            }
        }
    }

    /// By process, if its cgroup holds nobody else: a socket keeps the cgroup that it was made
    /// in, so moving the process into one of its own would not move its connections.
    pub fn by_process(&self, pid: u32) -> Result<CgroupRef, CgroupError> {
        let own = &cgroup_of(pid)?;
        let members = self.processes(&self.root.join(own.trim_start_matches('/')))?;
        let others: Vec<_> =
            members.into_iter().filter(|&member| !descends(member, pid)).map(name_of).collect();
        if !others.is_empty() {
            return Err(CgroupError::Shared { pid, cgroup: own.into(), others });
        }
        self.by_path(own)
    }

    /// By container: that of its main process, or the one above it that has the container's id in its
    /// name, for there may be more inside.
    pub fn by_container(&self, pid: u32, id: &str) -> Result<CgroupRef, CgroupError> {
        match named_after(&cgroup_of(pid)?, id) {
            Some(path) => self.by_path(path),
            None => self.by_process(pid),
        }
    }

    /// All processes of a cgroup and its descendants.
    pub fn processes(&self, cgroup: &Path) -> Result<Vec<u32>, CgroupError> {
        let mut pids = Vec::new();
        let mut folders = vec![cgroup.to_owned()];
        while let Some(folder) = folders.pop() {
            let file = folder.join("cgroup.procs");
            let text = fs::read_to_string(&file).map_err(at(&file))?;
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            folders.extend(subfolders(&folder));
        }
        Ok(pids)
    }

    /// Refuses a cgroup with a process outside the network namespace with this inode: arriving
    /// packets are recognised by cgroup alone.
    pub fn check_namespace(&self, cgroup: &Path, inode: u64) -> Result<(), CgroupError> {
        for pid in self.processes(cgroup)? {
            // A process that is gone in the meantime is in no namespace.
            let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/net")) else { continue };
            if namespace.ino() != inode {
                return Err(CgroupError::OtherNamespace { cgroup: cgroup.into(), pid });
            }
        }
        Ok(())
    }

    /// Every cgroup, relative to the root; bounded for hosts with very many.
    fn all(&self) -> Vec<String> {
        const ENOUGH: usize = 20_000;
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for child in subfolders(&folder) {
                if let Ok(relative) = child.strip_prefix(&self.root) {
                    found.push(relative.display().to_string());
                }
                if found.len() >= ENOUGH {
                    return found;
                }
                folders.push(child);
            }
        }
        found.sort();
        found
    }
}

/// As /proc/PID/cgroup prints it.
fn cgroup_of(pid: u32) -> Result<String, CgroupError> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .map_err(|_| CgroupError::NoProcess { pid })?;
    Ok(text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned())
}

/// The part of a path that ends with the first name that contains an id.
fn named_after<'a>(path: &'a str, id: &str) -> Option<&'a str> {
    let at = path.find(id).filter(|_| !id.is_empty())? + id.len();
    let end = path[at..].find('/').map_or(path.len(), |more| at + more);
    Some(&path[..end])
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn descends(mut pid: u32, ancestor: u32) -> bool {
    while pid > 1 {
        if pid == ancestor {
            return true;
        }
        match parent_of(pid) {
            Some(parent) => pid = parent,
            None => return false,
        }
    }
    false
}

pub(super) fn parent_of(pid: u32) -> Option<u32> {
    let stat = procfs::process::Process::new(pid.cast_signed()).ok()?.stat().ok()?;
    u32::try_from(stat.ppid).ok()
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} {pid}", name.trim())
}

fn read(path: &str) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(at(Path::new(path)))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::named_after;

    #[test]
    fn the_cgroup_of_a_container_is_the_one_with_its_id() {
        for (path, found) in [
            ("/system.slice/docker-f00d.scope", Some("/system.slice/docker-f00d.scope")),
            ("/docker/f00d/init.scope", Some("/docker/f00d")),
            ("/user.slice/libpod-f00d.scope/container", Some("/user.slice/libpod-f00d.scope")),
            ("/system.slice/shop.service", None),
            ("/", None),
        ] {
            assert_eq!(named_after(path, "f00d"), found, "{path}");
            assert_eq!(named_after(path, ""), None);
        }
    }
}
