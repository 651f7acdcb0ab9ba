//! The marketplace server.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use marketplace::{
    config::ServeArgs,
    defect::CATALOGUE,
    error::Error,
    escrow::check::{Report, check},
    logging,
    metrics::Metrics,
    serve::serve,
};
use rusqlite::{Connection, OpenFlags};

/// A small Monero escrow marketplace.
#[derive(Debug, Parser)]
#[command(name = "marketplace", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the same as no subcommand.
    Serve(Box<ServeArgs>),
    /// Check the invariants of a data folder and print the result as JSON; exits 1 if one is broken.
    Check {
        /// The data folder; the server may be running.
        #[arg(long)]
        data: PathBuf,
        /// How long a step may take before its escrow counts as stuck.
        #[arg(long, default_value_t = 30_000)]
        stuck_after_ms: i64,
    },
    /// List the defects that can be switched on.
    Defects {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(Box::new(cli.serve))) {
        Command::Serve(args) => {
            let metrics = Metrics::new()?;
            logging::start(args.log_file.as_deref(), args.defects(), Some(metrics.clone()))
                .context("cannot open the log file")?;
            if let Err(error) = serve(&args, metrics).await {
                tracing::error!(%error, "cannot run");
                return Err(error.into());
            }
        }
        Command::Check { data, stuck_after_ms } => {
            let path = data.join("market.db");
            let open = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE);
            let report = open.map_err(Error::from).and_then(|conn| check(&conn, stuck_after_ms));
            let report = report.unwrap_or_else(|error| match &error {
                Error::Sqlite(inner) => Report::unreadable(inner),
                other => Report::unreadable(other),
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Defects { json: true } => println!("{}", serde_json::to_string_pretty(CATALOGUE)?),
        Command::Defects { json: false } => {
            for entry in CATALOGUE {
                println!("{:<28} {}", entry.name, entry.what);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
