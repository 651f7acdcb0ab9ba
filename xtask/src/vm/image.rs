//! What the guest boots: the static programs, the modules and the job, as one initramfs.

use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use chaos_suite::{JOB_FILE, Job, Work};

use super::archive::unpack;
use super::cpio::CpioWriter;
use super::kernel::Kernel;
use super::modules::closure;
use super::peers::{Content, GuestFile, Peers};
use crate::suite::build_static_binaries;

/// Small files that programs expect to find.
const FILES: [(&str, &str); 6] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/hostname", "chaos-vm\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
];

const FOLDERS: [&str; 9] =
    ["/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/var/lib", "/var/log", "/etc"];

/// Folders of the workspace that tests and experiments read, beside Rust sources.
const DATA: [&str; 3] = ["experiments", "chaos-user/tests", "examples/marketplace"];

/// What every guest of one run is made of.
#[derive(Debug)]
pub(crate) struct Image {
    /// PID 1.
    guest: PathBuf,
    /// `chaos` and the programs of the reference target.
    binaries: Vec<PathBuf>,
    /// Beside them, in a guest that measures.
    peers: Vec<GuestFile>,
    /// A shell and the usual small tools.
    busybox: PathBuf,
    /// The workspace; its files keep their paths in the guest.
    workspace: PathBuf,
}

/// Builds PID 1, statically.
fn build_guest(layout: &Layout) -> Result<PathBuf> {
    let binaries = build_static_binaries(layout, "build the guest", &["chaos-guest"])?;
    binaries.into_iter().next().context("cargo built no guest")
}

impl Image {
    /// Gathers it.
    pub(crate) fn new(layout: &Layout, binaries: Vec<PathBuf>) -> Result<Self> {
        let folder = layout.target().join("xtask/busybox");
        let busybox = folder.join("root/bin/busybox");
        if !busybox.is_file() {
            unpack(layout, "busybox", &["busybox-static".into()], &folder)?;
        }
        let guest = build_guest(layout)?;
        let peers = Vec::new();
        Ok(Self { guest, binaries, peers, busybox, workspace: layout.root().into() })
    }

    /// What delays are compared with is in it, too.
    pub(crate) fn with_peers(self, peers: &Peers) -> Result<Self> {
        Ok(Self { peers: peers.files()?, ..self })
    }

    /// Writes the initramfs for this kernel and this work; returns its size in bytes.
    pub(super) fn write(
        &self,
        kernel: &Kernel,
        modules: &[String],
        work: &Work,
        to: &Path,
    ) -> Result<u64> {
        let out = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
        let mut archive = Archive(CpioWriter::new(BufWriter::new(out)));
        archive.base()?;
        archive.copy(&self.guest, Path::new("/init"))?;
        archive.0.symlink(Path::new("/usr/bin/getent"), "/init")?;
        archive.copy(&self.busybox, Path::new("/bin/busybox"))?;
        let mut job = Job { modules: vec![], work: work.clone() };
        for (index, module) in closure(&kernel.modules, modules)?.into_iter().enumerate() {
            let path = PathBuf::from(format!("/modules/{index:03}-{}.ko", module.name));
            archive.0.file(&path, 0o644, &module.bytes)?;
            job.modules.push(path);
        }
        for binary in &self.binaries {
            archive.copy(binary, binary)?;
            if let Some(name) = binary.file_name() {
                let link = Path::new("/usr/local/bin").join(name);
                archive.0.symlink(&link, &binary.to_string_lossy())?;
            }
        }
        for GuestFile { path, content } in &self.peers {
            match content {
                Content::CopyOf(original) => archive.copy(original, path)?,
                Content::LinkTo(target) => archive.0.symlink(path, target)?,
                Content::Program(text) => archive.0.file(path, 0o755, text.as_bytes())?,
            }
        }
        if let Work::Suites { suites, .. } = work {
            for suite in suites {
                archive.copy(&suite.program, &suite.program)?;
                archive.0.directory(&suite.directory)?;
            }
        }
        for folder in DATA {
            archive.data(&self.workspace.join(folder))?;
        }
        archive.0.directory(&self.workspace)?;
        let job = serde_json::to_vec(&job).context("the job has no JSON form")?;
        archive.0.file(Path::new(JOB_FILE), 0o644, &job)?;
        archive.0.finish().with_context(|| format!("cannot write {}", to.display()))?;
        Ok(fs::metadata(to).with_context(|| format!("cannot look at {}", to.display()))?.len())
    }
}

struct Archive(CpioWriter<BufWriter<File>>);

impl Archive {
    fn base(&mut self) -> Result<()> {
        for folder in FOLDERS {
            self.0.directory(Path::new(folder))?;
        }
        for (path, text) in FILES {
            self.0.file(Path::new(path), 0o644, text.as_bytes())?;
        }
        // The kernel opens it for PID 1 before anything is mounted.
        self.0.device(Path::new("/dev/console"), 5, 1)?;
        Ok(())
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let read = || format!("cannot read {}", from.display());
        let data = fs::read(from).with_context(read)?;
        let mode = fs::metadata(from).with_context(read)?.permissions().mode() & 0o777;
        self.0.file(to, mode, &data).with_context(|| format!("cannot archive {}", from.display()))
    }

    /// Everything below a folder that is no Rust source; the folder may be missing.
    fn data(&mut self, folder: &Path) -> Result<()> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        self.0.directory(folder)?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
            if path.is_dir() {
                self.data(&path)?;
            } else if path.extension().is_none_or(|end| end != "rs") {
                self.copy(&path, &path)?;
            }
        }
        Ok(())
    }
}
