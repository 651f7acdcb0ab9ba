//! Boots a guest and waits for its report.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;
use chaos_suite::{Record, Work};

use super::image::Image;
use super::kernel::Kernel;
use super::qemu::Qemu;
use super::report::{VmReport, sign_of_death};
use crate::progress::{Display, tail};

/// How much of the console is shown when a guest ends without its report.
const CONSOLE_LINES: usize = 60;

/// How long a guest may take to power off after its last record.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(30);

/// How long a dying kernel may go on to say where it was.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long KVM may take to show that it works.
const SELF_TEST_LIMIT: Duration = Duration::from_secs(30);

/// How many times slower emulated processors are, for tests whose limits are about time.
const EMULATION_SLOWNESS: usize = 10;

/// The processors of a guest.
const GUEST_PROCESSORS: usize = 2;

/// One thread of ours executes all processors of a guest in turn. With a thread for each, QEMU 7.2
/// may keep a translation of code that another processor patches at that moment, so the breakpoint
/// that Linux puts there for an instant (static keys: a first classifier, a first CPU limit) stays in
/// force: the guest's kernel dies of it (`Oops: int3`) or never leaves it (`soft lockup`).
const EMULATION: &str = "tcg,thread=single";

/// Memory beside the two copies of the initramfs, in MiB.
const MEMORY: u64 = 1536;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accelerator {
    /// QEMU itself; slower, works everywhere
    Tcg,
    /// The processor, after a short self-test: /dev/kvm may exist and not work
    Kvm,
}

/// Where the third serial port goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// There is none.
    None,
    /// To standard output, with nothing to read.
    Output,
    /// The user's terminal.
    Terminal,
}

/// How many processors this machine lends us.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// What stays the same from guest to guest.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// The workspace.
    pub(crate) layout: &'a Layout,
    /// The emulator.
    pub(crate) qemu: Qemu,
    /// What the guests are made of.
    pub(crate) image: Image,
    /// The modules that they load.
    pub(crate) modules: &'a [String],
    /// What executes them.
    pub(crate) accelerator: Accelerator,
}

impl Machine<'_> {
    /// Boots `kernel` to do `work`, one of `at_once` such guests, and returns its report. A guest is
    /// ended when it takes longer than `limit` in all, or is silent for longer than `silence`.
    pub(crate) fn run(
        &self,
        name: &str,
        kernel: &Kernel,
        work: &Work,
        console: Console,
        [limit, silence]: [Duration; 2],
        at_once: usize,
    ) -> Result<VmReport> {
        let folder = self.layout.target().join("xtask/vm").join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let files = Files::new(&folder);
        let size = self.image.write(kernel, self.modules, work, &files.initramfs)?;
        if self.accelerator == Accelerator::Kvm && *work != Work::Nothing {
            self.self_test(kernel)?;
        }
        files.empty()?;
        let mut command = self.command(kernel, &files, size, console, at_once);
        let child = command.spawn().context("cannot start QEMU")?;
        let quiet = console != Console::None;
        let title = format!("VM {name}: {}", kernel.package);
        let display = (!quiet).then(|| Display::new(&title));
        let ended = watch(Guest(child), display, &files, [limit, silence])?;
        let report = files.report_text();
        Ok(VmReport::new(files.console, &report, ended))
    }

    /// KVM that opens and does not work is common inside other VMs.
    fn self_test(&self, kernel: &Kernel) -> Result<()> {
        let limits = [SELF_TEST_LIMIT; 2];
        let report = self.run("kvm-self-test", kernel, &Work::Nothing, Console::None, limits, 1)?;
        if report.complete() {
            return Ok(());
        }
        bail!(
            "/dev/kvm does not boot a guest here ({}); leave --accel kvm away. The console is {}",
            report.why_incomplete(),
            report.console.display()
        )
    }

    fn command(
        &self,
        kernel: &Kernel,
        files: &Files,
        size: u64,
        console: Console,
        at_once: usize,
    ) -> Command {
        let memory = MEMORY + 2 * size.div_ceil(1 << 20);
        let mut command = self.qemu.command();
        command
            .args(["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-smp", &GUEST_PROCESSORS.to_string(), "-m", &memory.to_string()])
            .args(match self.accelerator {
                Accelerator::Tcg => ["-accel", EMULATION, "-cpu", "max"],
                Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            })
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&files.initramfs)
            .args(["-append", &self.kernel_arguments(at_once)])
            .arg("-serial")
            .arg(format!("file:{}", files.console.display()))
            .arg("-serial")
            .arg(format!("file:{}", files.report.display()));
        if console != Console::None {
            command.args(["-chardev", "stdio,id=user,signal=off", "-serial", "chardev:user"]);
        }
        if console != Console::Terminal {
            command.stdin(Stdio::null());
        }
        if console == Console::None {
            command.stdout(Stdio::null());
        }
        command
    }

    /// `NAME=value` that the kernel does not know becomes PID 1's environment.
    fn kernel_arguments(&self, at_once: usize) -> String {
        let shared = (at_once * GUEST_PROCESSORS).div_ceil(processors());
        let slowness = shared
            * match self.accelerator {
                Accelerator::Tcg => EMULATION_SLOWNESS,
                Accelerator::Kvm => 1,
            };
        let mut arguments = format!(
            "console=ttyS0 quiet panic=-1 mitigations=off \
             PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root RUST_BACKTRACE=1 \
             CHAOS_TEST_SLOWNESS={slowness}",
        );
        if let Ok(seed) = std::env::var("CHAOS_TEST_SEED")
            && seed.chars().all(|c| c.is_ascii_alphanumeric())
        {
            arguments.push_str(" CHAOS_TEST_SEED=");
            arguments.push_str(&seed);
        }
        arguments
    }
}

struct Files {
    initramfs: PathBuf,
    console: PathBuf,
    report: PathBuf,
}

impl Files {
    fn new(folder: &Path) -> Self {
        Self {
            initramfs: folder.join("initramfs.cpio"),
            console: folder.join("console.log"),
            report: folder.join("report.jsonl"),
        }
    }

    /// Nothing of an earlier run may be taken for this one's.
    fn empty(&self) -> Result<()> {
        for file in [&self.console, &self.report] {
            fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    fn report_text(&self) -> String {
        read_lossy(&self.report)
    }
}

fn read_lossy(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A QEMU that does not outlive us.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the guest; returns why it had to be ended, if so.
fn watch(
    mut guest: Guest,
    mut display: Option<Display>,
    files: &Files,
    [limit, silence]: [Duration; 2],
) -> Result<Option<String>> {
    let start = Instant::now();
    let mut reported = (0, start);
    let mut done: Option<Instant> = None;
    let ended = loop {
        if let Some(status) = guest.0.try_wait().context("cannot wait for QEMU")? {
            break (!status.success()).then(|| format!("QEMU failed ({status})"));
        }
        std::thread::sleep(Duration::from_millis(100));
        let report = files.report_text();
        let now = Instant::now();
        if report.len() > reported.0 {
            reported = (report.len(), now);
        }
        if done.is_none() && report.lines().any(|line| Record::parse(line) == Some(Record::Done)) {
            done = Some(now);
        }
        if let Some(display) = &mut display {
            display.tick(|| report.lines().rev().find_map(progress_line));
        }
        if let Some(sign) = sign_of_death(&read_lossy(&files.console)) {
            std::thread::sleep(LAST_WORDS);
            break Some(format!("its kernel said `{sign}`"));
        }
        if done.is_some_and(|done| now - done > POWER_OFF_LIMIT) {
            break Some("it did not power off".into());
        }
        if now - start > limit {
            break Some(format!("it was not done after {} s", limit.as_secs()));
        }
        if now - reported.1 > silence {
            break Some(format!("it was silent for {} s", silence.as_secs()));
        }
    };
    drop(guest);
    if let Some(display) = &display {
        display.end(ended.is_none() && done.is_some(), start.elapsed());
    }
    if ended.is_some() || done.is_none() {
        eprintln!("{}", tail(&read_lossy(&files.console), CONSOLE_LINES));
        eprintln!("    the console's whole log is {}", files.console.display());
    }
    Ok(ended)
}

fn progress_line(line: &str) -> Option<String> {
    match Record::parse(line)? {
        Record::Start { suite, test } | Record::Test { suite, test, .. } => {
            Some(format!("{suite}::{test}"))
        }
        _ => None,
    }
}
