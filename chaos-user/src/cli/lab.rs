//! `chaos lab`: hosts made of network namespaces, to try things on.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::Exit;
use crate::lab::supervisor::{self, Answer, FailureKind, Order, SupervisorError};
use crate::lab::{LabRecord, Registry, RegistryError};
use crate::target::{ProcessError, exec_attached, find_program};

/// Build, use and end labs: hosts made of network namespaces.
#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Bring up the lab that a file describes; it stays up until `lab down`
    Up(UpArgs),
    /// Take a lab down
    Down {
        /// Which one; needed only when several are up
        name: Option<String>,
    },
    /// Run a command on a node of a lab; ends with the command's exit code
    Exec {
        /// The node to run it on
        node: String,
        /// Which lab; needed only when several are up
        #[arg(long, value_name = "NAME")]
        lab: Option<String>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// List the labs that are up
    List {
        /// Print JSON: an array of labs with their nodes, addresses and processes
        #[arg(long)]
        json: bool,
    },
    /// Hold a lab: what `lab up` starts in the background
    #[command(hide = true)]
    Supervise(UpArgs),
}

#[derive(Debug, Args)]
struct UpArgs {
    /// The lab file
    file: PathBuf,
    /// Use this name instead of the one in the file, so that two of a kind can be up
    #[arg(long)]
    name: Option<String>,
    /// When the lab fails to come up, keep what came up, to look around in
    #[arg(long)]
    keep: bool,
}

impl LabArgs {
    /// Does it. Errors with an exit code of their own are printed here.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            LabCommand::Up(args) => up(&args.order()?),
            LabCommand::Down { name } => down(name.as_deref()),
            LabCommand::Exec { node, lab, command } => exec(&node, lab.as_deref(), &command),
            LabCommand::List { json } => list(json),
            LabCommand::Supervise(args) => Ok(match supervisor::supervise(&args.order()?) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, code(error.kind())),
            }),
        }
    }
}

impl UpArgs {
    fn order(self) -> anyhow::Result<Order> {
        let file = std::path::absolute(&self.file).context("cannot tell the working directory")?;
        Ok(Order { file, name: self.name, keep: self.keep })
    }
}

fn code(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Usage => Exit::Usage,
        FailureKind::Host => Exit::HostUnable,
        FailureKind::Tool => Exit::ToolFailed,
    }
}

fn fail(error: &dyn std::fmt::Display, code: Exit) -> ExitCode {
    eprintln!("chaos: {error}");
    code.into()
}

fn registry_code(error: &RegistryError) -> Exit {
    match error {
        RegistryError::AlreadyUp { .. }
        | RegistryError::Unknown { .. }
        | RegistryError::UnknownNode { .. }
        | RegistryError::Which { .. }
        | RegistryError::NoneUp
        | RegistryError::Name { .. } => Exit::Usage,
        _ => Exit::ToolFailed,
    }
}

fn up(order: &Order) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    // Read here too, so that a bad file is told before anything is started.
    let spec = match order.spec() {
        Ok(spec) => spec,
        Err(error) => return Ok(fail(&error, Exit::Usage)),
    };
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGINT);
    interrupts.add(Signal::SIGTERM);
    interrupts.thread_block().context("cannot block signals")?;
    let interrupts = SignalFd::with_flags(&interrupts, SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for signals")?;
    let mut arguments: Vec<&OsStr> = ["lab", "supervise"].map(OsStr::new).into();
    if let Some(name) = &order.name {
        arguments.extend([OsStr::new("--name"), OsStr::new(name)]);
    }
    if order.keep {
        arguments.push(OsStr::new("--keep"));
    }
    arguments.push(order.file.as_os_str());
    let told = |error: SupervisorError| fail(&error, code(error.kind()));
    let mut supervisor = match supervisor::start(&arguments) {
        Ok(supervisor) => supervisor,
        Err(error) => return Ok(told(error)),
    };
    let answer = match supervisor::answer(&mut supervisor, &interrupts) {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(fail(&"interrupted; nothing of the lab is left", Exit::Aborted)),
        Err(error) => return Ok(told(error)),
    };
    if let Answer::Failed { error, kind, kept } = &answer {
        let exit = fail(error, code(*kind));
        if !kept {
            return Ok(exit);
        }
        let name = spec.name();
        eprintln!("chaos: kept what came up of lab {name}; `chaos lab down {name}` ends it");
        print(&describe(&Registry::of_host().find(Some(name))?))?;
        return Ok(exit);
    }
    let record = match Registry::of_host().find(Some(spec.name())) {
        Ok(record) => record,
        Err(error) => return Ok(fail(&error, registry_code(&error))),
    };
    print(&format!("{}\nup in {:.2} s\n", describe(&record), begin.elapsed().as_secs_f64()))?;
    Ok(ExitCode::SUCCESS)
}

fn down(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let registry = Registry::of_host();
    match registry.find(name).and_then(|record| registry.down(&record).map(|()| record)) {
        Ok(record) => {
            print(&format!("lab {} is down\n", record.name))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Ok(fail(&error, registry_code(&error))),
    }
}

fn exec(node: &str, lab: Option<&str>, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let Some((program, args)) = command.split_first() else {
        return Ok(fail(&"there is no command to run", Exit::Usage));
    };
    // Ctrl-C is for the command, which is in the same foreground group; this process waits for
    // what the command makes of it. The command itself starts with nothing blocked.
    let mut typed = SigSet::empty();
    typed.add(Signal::SIGINT);
    typed.add(Signal::SIGQUIT);
    typed.thread_block().context("cannot block signals")?;
    let found = Registry::of_host().find(lab).and_then(|record| {
        let node = record.node(node)?;
        record.enter(node)
    });
    let (surroundings, spawner) = match found {
        Ok(found) => found,
        Err(error) => return Ok(fail(&error, registry_code(&error))),
    };
    let program = find_program(&program.to_string_lossy(), Path::new("."));
    let ended =
        program.and_then(|program| exec_attached(&program, args, Some(&surroundings), &spawner));
    match ended {
        Ok(exit) => Ok(exit.shell_code().into()),
        Err(error @ (ProcessError::NotFound { .. } | ProcessError::NotExecutable { .. })) => {
            Ok(fail(&error, Exit::Usage))
        }
        Err(error) => Ok(fail(&error, Exit::ToolFailed)),
    }
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    let registry = Registry::of_host();
    let records: Vec<LabRecord> =
        registry.names().iter().filter_map(|name| registry.find(Some(name)).ok()).collect();
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&records)?))?;
    } else if records.is_empty() {
        print("no lab is up\n")?;
    } else {
        let texts: Vec<String> = records.iter().map(describe).collect();
        print(&texts.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to the standard output; a reader that has seen enough is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to the standard output"),
    }
}

fn describe(record: &LabRecord) -> String {
    let mut text = format!("lab {} (supervisor {})", record.name, record.supervisor);
    if let Some(failure) = &record.failure {
        let _ = write!(text, ", kept after a failure: {}", failure.lines().next().unwrap_or(""));
    }
    text.push_str("\n\n");
    let mut nodes = vec![["NODE", "NETWORK", "DEVICE", "ADDRESSES", "NAMESPACE"].map(String::from)];
    let mut processes = vec![["PROCESS", "PID", "RESTARTS", "LOG"].map(String::from)];
    for node in &record.nodes {
        let netns = node.netns.display().to_string();
        if node.devices.is_empty() {
            nodes.push([node.name.clone(), "-".into(), "-".into(), "-".into(), netns.clone()]);
        }
        for device in &node.devices {
            nodes.push([
                node.name.clone(),
                device.network.clone(),
                device.name.clone(),
                device.addresses.join(" "),
                netns.clone(),
            ]);
        }
        for process in &node.processes {
            let ended = process.exit.as_deref().unwrap_or("not running");
            processes.push([
                format!("{}/{}", node.name, process.name),
                process.pid.map_or_else(|| ended.to_owned(), |pid| pid.to_string()),
                process.restarts.to_string(),
                process.log.display().to_string(),
            ]);
        }
    }
    text.push_str(&table(&nodes));
    if processes.len() > 1 {
        text.push('\n');
        text.push_str(&table(&processes));
    }
    text
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), "A     B\nlong  x\n");
    }
}
