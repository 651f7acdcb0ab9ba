use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use chaos_ebpf_build::Layout;
use chaos_suite::{Suite, Work};
use clap::{Args, Subcommand};

use super::Task;
use super::build::build_object;
use crate::setup::ensure_all;
use crate::stage::{Report, render};
use crate::suite::{Programs, build_lab_binaries, build_programs};
use crate::vm::{
    Accelerator, Catalogue, Console, Image, Kernel, KernelEntry, Machine, Qemu, processors,
};

/// How long one test may take under emulation.
const TEST_LIMIT: Duration = Duration::from_mins(3);

/// How long all tests of one kernel may take. A test that hangs is found long before; this bounds a
/// guest that only gets slower and slower, and a busy machine must not come near it.
const KERNEL_LIMIT: Duration = Duration::from_mins(45);

/// How long `vm run` lets a command run.
const COMMAND_LIMIT: Duration = Duration::from_mins(30);

/// How long a shell may stay open.
const SHELL_LIMIT: Duration = Duration::from_hours(24);

/// Run the privileged tests, a shell or one command in VMs with stock Debian kernels
///
/// Kernels, QEMU and busybox come out of Debian's archive, unpacked below target/xtask and not
/// installed. The guest boots from an initramfs with static programs and reports on a serial port
/// of its own; its console is kept in target/xtask/vm/KERNEL/console.log. A test may skip itself
/// only for what xtask/kernels.toml says that its kernel lacks.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Vm {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Only tests or suites whose name contains this
    #[arg(last = true)]
    filter: Option<String>,
}

#[derive(Debug, Args)]
struct MachineArgs {
    /// One kernel of xtask/kernels.toml [default: all for tests, the newest otherwise]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// What executes the guest
    #[arg(long, value_enum, default_value = "tcg")]
    accel: Accelerator,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Open a shell with chaos, the reference target and experiments/ in it; `exit` powers off
    Shell(#[command(flatten)] MachineArgs),
    /// Run one command, such as `vm run -- chaos run all`, and return its exit code
    Run {
        #[command(flatten)]
        machine: MachineArgs,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        argv: Vec<String>,
    },
}

impl Vm {
    /// Whether the exit code will be that of a command in the guest.
    pub(crate) fn hands_exit_code_through(&self) -> bool {
        matches!(self.action, Some(Action::Run { .. }))
    }
}

impl Task for Vm {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        let catalogue = Catalogue::load()?;
        build_object(layout, &ensure_all(layout)?)?;
        match self.action {
            None => {
                let kernels = catalogue.select(self.machine.kernel.as_deref())?;
                let programs = build_programs(layout)?;
                let filter = self.filter.as_deref();
                let accelerator = self.machine.accel;
                let stages =
                    test_stages(layout, &catalogue, &kernels, &programs, filter, accelerator);
                print!("{}", render(&stages));
                let ok = stages.iter().all(Report::ok);
                Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Some(Action::Shell(args)) => {
                eprintln!("==> booting; `exit` or Ctrl-D powers off");
                let work = Work::Shell { directory: layout.root().into() };
                one(layout, &catalogue, &args, &work, Console::Terminal, SHELL_LIMIT)
            }
            Some(Action::Run { machine, argv }) => {
                let terminal = std::io::stdout().is_terminal();
                let work = Work::Command { argv, terminal, directory: layout.root().into() };
                one(layout, &catalogue, &machine, &work, Console::Output, COMMAND_LIMIT)
            }
        }
    }
}

/// The privileged tests on each of these kernels, one stage per kernel. As many guests run at once
/// as there are processors: tests run one by one, so a guest keeps one busy.
pub(super) fn test_stages(
    layout: &Layout,
    catalogue: &Catalogue,
    kernels: &[&KernelEntry],
    programs: &Programs,
    filter: Option<&str>,
    accelerator: Accelerator,
) -> Vec<Report> {
    let start = Instant::now();
    let name = |kernel: &KernelEntry| format!("VM, kernel {}", kernel.name);
    let machine = || -> Result<Machine<'_>> {
        Ok(Machine {
            layout,
            qemu: Qemu::fetch(layout)?,
            image: Image::new(layout, programs.binaries.clone())?,
            modules: catalogue.modules(),
            accelerator,
        })
    };
    let machine = match machine() {
        Ok(machine) => machine,
        Err(error) => {
            let broken =
                |kernel: &&KernelEntry| Report::broken(&name(kernel), start.elapsed(), &error);
            return kernels.iter().map(broken).collect();
        }
    };
    // Asked for something, each kernel does it; asked for everything, they share the work.
    let shared = kernels.len() > 1 && filter.is_none();
    let work = |entry: &KernelEntry| {
        let own = |suite: &Suite| if shared { entry.share(suite) } else { Some(suite.clone()) };
        Work::Suites {
            suites: programs.suites.iter().filter_map(own).collect(),
            filter: filter.map(String::from),
            test_limit: TEST_LIMIT.as_secs(),
        }
    };
    let limits = [KERNEL_LIMIT, TEST_LIMIT + Duration::from_mins(1)];
    let run = |entry: &KernelEntry, kernel: Result<Kernel>, start: Instant, at_once| {
        let ran = kernel.and_then(|kernel| {
            machine.run(&entry.name, &kernel, &work(entry), Console::None, limits, at_once)
        });
        let elapsed = start.elapsed();
        match ran {
            Ok(report) => Report { name: name(entry), elapsed, ..report.stage(entry) },
            Err(error) => Report::broken(&name(entry), elapsed, &error),
        }
    };
    let mut reports = Vec::new();
    for together in kernels.chunks(processors()) {
        let start = Instant::now();
        // One after the other: downloads share a folder.
        let fetched = together.iter().map(|entry| (*entry, Kernel::fetch(layout, entry)));
        let fetched: Vec<_> = fetched.collect();
        let (run, at_once) = (&run, fetched.len());
        reports.extend(thread::scope(|scope| {
            let guests: Vec<_> = fetched
                .into_iter()
                .map(|(entry, kernel)| {
                    (entry, scope.spawn(move || run(entry, kernel, start, at_once)))
                })
                .collect();
            let ended = guests.into_iter().map(|(entry, guest)| {
                let panicked = |_| {
                    let error = anyhow!("the thread that watched the guest panicked");
                    Report::broken(&name(entry), start.elapsed(), &error)
                };
                guest.join().unwrap_or_else(panicked)
            });
            ended.collect::<Vec<_>>()
        }));
    }
    reports
}

/// One guest for one piece of work, whose exit code becomes ours.
fn one(
    layout: &Layout,
    catalogue: &Catalogue,
    args: &MachineArgs,
    work: &Work,
    console: Console,
    limit: Duration,
) -> Result<ExitCode> {
    let image = Image::new(layout, build_lab_binaries(layout)?)?;
    boot(layout, catalogue, args, image, work, console, limit)
}

/// Runs one command in a guest made of `image`.
pub(super) fn command_in_guest(
    layout: &Layout,
    kernel: Option<String>,
    image: Image,
    argv: Vec<String>,
) -> Result<ExitCode> {
    let args = MachineArgs { kernel, accel: Accelerator::Tcg };
    let work = Work::Command { argv, terminal: false, directory: layout.root().into() };
    boot(layout, &Catalogue::load()?, &args, image, &work, Console::Output, COMMAND_LIMIT)
}

fn boot(
    layout: &Layout,
    catalogue: &Catalogue,
    args: &MachineArgs,
    image: Image,
    work: &Work,
    console: Console,
    limit: Duration,
) -> Result<ExitCode> {
    let kernels = catalogue.select(args.kernel.as_deref())?;
    let entry = kernels.last().context("no kernel is listed")?;
    let machine = Machine {
        layout,
        qemu: Qemu::fetch(layout)?,
        image,
        modules: catalogue.modules(),
        accelerator: args.accel,
    };
    let kernel = Kernel::fetch(layout, entry)?;
    let report = machine.run(&entry.name, &kernel, work, console, [limit; 2], 1)?;
    let (code, problems) = report.exit();
    for problem in problems {
        eprintln!("in the guest: {problem}");
    }
    match code {
        Some(code) if report.complete() => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        _ => bail!("{}; its console is {}", report.why_incomplete(), report.console.display()),
    }
}
