//! A client of the marketplace for scripts and probes: one step, one JSON object.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use marketplace::client::{Call, Client, Ending, Outcome};
use serde_json::{Value, json};

/// Does one step as one user of the marketplace and prints how it ended, as JSON.
///
/// Exits with 0 if it was done, 1 if it certainly was not, 2 if it may have been.
#[derive(Debug, Parser)]
#[command(name = "market-client", version)]
struct Args {
    /// The marketplace.
    #[arg(long, env = "MARKET_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Who is acting.
    #[arg(long, env = "MARKET_USER", default_value = "buyer-1")]
    user: String,
    /// How long to wait for one answer.
    #[arg(long, default_value_t = 30_000)]
    timeout_ms: u64,
    /// How often to try again when the answer says that this may help.
    #[arg(long, default_value_t = 2)]
    retries: u32,
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Say that the user is online.
    Heartbeat,
    /// Show a user, and whether they are online.
    Status {
        /// Who; the acting user if not given.
        id: Option<String>,
    },
    /// Open an escrow for a listing.
    Buy {
        /// What is bought.
        listing: String,
        /// The participant who keeps their wallet themself.
        #[arg(long)]
        self_custody: Option<String>,
    },
    /// Show an escrow.
    Show {
        /// The escrow.
        id: i64,
    },
    /// Show how far the multisig set-up of an escrow is.
    Multisig {
        /// The escrow.
        id: i64,
    },
    /// Do one round of the multisig set-up.
    Advance {
        /// The escrow.
        id: i64,
    },
    /// Do all rounds of the multisig set-up.
    Setup {
        /// The escrow.
        id: i64,
    },
    /// Send multisig info.
    Submit {
        /// The escrow.
        id: i64,
        /// The round, 1 to 4.
        #[arg(long)]
        round: u8,
        /// The info.
        #[arg(long, required_unless_present = "info_file")]
        info: Option<String>,
        /// A file with the info.
        #[arg(long)]
        info_file: Option<PathBuf>,
    },
    /// Pay.
    Fund {
        /// The escrow.
        id: i64,
    },
    /// Say that the goods are on their way.
    Ship {
        /// The escrow.
        id: i64,
    },
    /// Say that the goods have arrived.
    Release {
        /// The escrow.
        id: i64,
    },
    /// Call it off.
    Cancel {
        /// The escrow.
        id: i64,
    },
    /// Ask the arbiter.
    Dispute {
        /// The escrow.
        id: i64,
        /// Why.
        #[arg(long, default_value = "not as described")]
        reason: String,
    },
    /// Decide a dispute.
    Resolve {
        /// The escrow.
        id: i64,
        /// `release` or `refund`.
        #[arg(long)]
        outcome: String,
    },
    /// A whole trade, from buying to the release, as all participants.
    Trade {
        /// What is bought.
        listing: String,
    },
    /// Check the invariants.
    Invariants,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let outcome = match &args.step {
        Step::Trade { listing } => trade(&args, listing).await?,
        step => client(&args, &args.user)?.run(&call(step, &args.user)?).await,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::from(match outcome.ending {
        Ending::Ok => 0,
        Ending::Fail => 1,
        Ending::Info => 2,
    }))
}

fn client(args: &Args, user: &str) -> anyhow::Result<Client> {
    let timeout = Duration::from_millis(args.timeout_ms);
    Client::new(&args.server, user, timeout, args.retries).context("cannot make the HTTP client")
}

fn call(step: &Step, user: &str) -> anyhow::Result<Call> {
    let on =
        |id: &i64, what: &str, body: Value| Call::post(format!("/api/escrows/{id}/{what}"), body);
    Ok(match step {
        Step::Heartbeat => Call::post(format!("/api/users/{user}/heartbeat"), json!({})),
        Step::Status { id } => Call::get(format!("/api/users/{}", id.as_deref().unwrap_or(user))),
        Step::Buy { listing, self_custody } => {
            let custody: Vec<_> = self_custody.iter().collect();
            let body = json!({"listing_id": listing, "self_custody": custody});
            Call::post("/api/escrows", body)
        }
        Step::Show { id } => Call::get(format!("/api/escrows/{id}")),
        Step::Multisig { id } => Call::get(format!("/api/escrows/{id}/multisig")),
        Step::Advance { id } => on(id, "multisig/advance", json!({})),
        Step::Setup { id } => on(id, "multisig/run", json!({})),
        Step::Submit { id, round, info, info_file } => {
            let info = match (info, info_file) {
                (Some(info), _) => info.clone(),
                (None, Some(path)) => std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
                (None, None) => String::new(),
            };
            on(id, "multisig/info", json!({"round": round, "info": info.trim_end()}))
        }
        Step::Fund { id } => on(id, "fund", json!({})),
        Step::Ship { id } => on(id, "ship", json!({})),
        Step::Release { id } => on(id, "release", json!({})),
        Step::Cancel { id } => on(id, "cancel", json!({})),
        Step::Dispute { id, reason } => on(id, "dispute", json!({"reason": reason})),
        Step::Resolve { id, outcome } => on(id, "resolve", json!({"outcome": outcome})),
        Step::Invariants => Call::get("/api/invariants"),
        Step::Trade { .. } => anyhow::bail!("a trade is more than one call"),
    })
}

/// Stops at the first step that is not done, with the outcome of that step.
async fn trade(args: &Args, listing: &str) -> anyhow::Result<Outcome> {
    let buyer = client(args, &args.user)?;
    let bought = buyer
        .run(&call(&Step::Buy { listing: listing.to_owned(), self_custody: None }, &args.user)?)
        .await;
    let (Some(id), Some(vendor)) = (bought.body["id"].as_i64(), bought.body["vendor_id"].as_str())
    else {
        return Ok(bought);
    };
    let vendor = client(args, vendor)?;
    let steps = [
        (&buyer, Step::Setup { id }),
        (&buyer, Step::Fund { id }),
        (&vendor, Step::Ship { id }),
        (&buyer, Step::Release { id }),
    ];
    let (mut ms, mut notice) = (bought.ms, bought.notice.clone());
    let mut last = bought;
    for (client, step) in steps {
        last = client.run(&call(&step, &args.user)?).await;
        ms += last.ms;
        notice = notice.or(last.notice.take());
        if last.ending != Ending::Ok {
            break;
        }
    }
    Ok(Outcome { ms, notice, ..last })
}
