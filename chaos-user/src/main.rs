//! The `chaos` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    chaos::cli::Cli::main()
}
