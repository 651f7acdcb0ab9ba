//! What the user typed. Commands parse and print; the work is done elsewhere.

mod doctor;
mod experiments;
mod guards;
mod heal;
mod history;
mod init;
mod inject;
pub mod lab;
mod list;
mod live;
mod output;
mod report;
mod respond;
mod run;
mod schema;
mod selector;
mod status;
mod table;
mod told;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;
use crate::fault::{FaultError, guard};
use crate::host::{MissingCapabilities, Privilege, ProcessId, keep_only};

/// Exit codes, for `--help`.
const EXIT_CODES: &str = "Exit codes:
  0  PASS, or done            1  FAIL              2  INCONCLUSIVE: the fault hit nothing
  3  ABORTED, all healed      4  this host cannot  5  the tool failed, all healed
  6  something could not be put back (chaos heal)  64 usage, or a file that is not understood";

/// Kernel-level fault injection for Linux: faults that hit precisely chosen flows, prove that they
/// acted, and end by themselves.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inject(Box<inject::InjectArgs>),
    Run(run::RunArgs),
    List(list::ListArgs),
    Init(init::InitArgs),
    Schema(schema::SchemaArgs),
    Validate(validate::ValidateArgs),
    Report(report::ReportArgs),
    History(history::HistoryArgs),
    Status(status::StatusArgs),
    Heal(heal::HealArgs),
    Halt(heal::HaltArgs),
    Doctor(doctor::DoctorArgs),
    Lab(lab::LabArgs),
    Respond(respond::RespondArgs),
    /// Watch over a run (started by the run itself)
    #[command(hide = true)]
    Guardian {
        pid: u32,
        started: u64,
    },
}

impl Command {
    fn privilege(&self) -> Privilege {
        match self {
            Self::List(_)
            | Self::Validate(_)
            | Self::Report(_)
            | Self::History(_)
            | Self::Respond(_) => Privilege::Reading,
            _ => Privilege::Working,
        }
    }
}

/// A wrong argument that only shows when it is put together with the host or with others.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

impl Cli {
    /// Reads the command line, runs the command, prints what went wrong.
    pub fn main() -> ExitCode {
        let cli = match Self::try_parse() {
            Ok(cli) => cli,
            Err(error) => {
                // Help and version are no errors; if even this cannot be shown, nothing can.
                let _ = error.print();
                let exit = if error.use_stderr() { Exit::Usage } else { Exit::Pass };
                return exit.into();
            }
        };
        if let Err(error) = keep_only(cli.command.privilege()) {
            eprintln!("chaos: give up capabilities that are not needed: {error}");
            return Exit::ToolFailed.into();
        }
        let result = match cli.command {
            Command::Inject(args) => args.run().map(ExitCode::from),
            Command::Run(args) => args.run(),
            Command::List(args) => args.run().map(ExitCode::from),
            Command::Init(args) => args.run().map(ExitCode::from),
            Command::Schema(args) => args.run().map(ExitCode::from),
            Command::Validate(args) => Ok(args.run().into()),
            Command::Report(args) => args.run(),
            Command::History(args) => args.run().map(ExitCode::from),
            Command::Status(args) => args.run().map(ExitCode::from),
            Command::Heal(args) => args.run().map(ExitCode::from),
            Command::Halt(args) => args.run().map(ExitCode::from),
            Command::Doctor(args) => args.run().map(ExitCode::from),
            Command::Lab(args) => args.run(),
            Command::Respond(args) => args.run(),
            Command::Guardian { pid, started } => Ok(guard(ProcessId { pid, started }).into()),
        };
        result.unwrap_or_else(|error| {
            eprintln!("chaos: {}", told::told(&error));
            exit_for(&error).into()
        })
    }
}

fn exit_for(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<FaultError>() {
        error.exit()
    } else if error.is::<guards::NotAllowed>() {
        Exit::Aborted
    } else if error.is::<UsageError>() {
        Exit::Usage
    } else if error.is::<MissingCapabilities>() {
        Exit::HostUnable
    } else {
        Exit::ToolFailed
    }
}
