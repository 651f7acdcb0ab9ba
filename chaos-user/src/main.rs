//! The `chaos` command.

use std::process::ExitCode;

use chaos::cli::lab::LabArgs;
use chaos::exit::Exit;
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "chaos", version, about = "Kernel-level fault injection for Linux")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Lab(LabArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; nothing can be done if even this cannot be shown.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Pass.into() };
        }
    };
    let result = match cli.command {
        Command::Lab(args) => args.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("chaos: {error:#}");
        Exit::ToolFailed.into()
    })
}
