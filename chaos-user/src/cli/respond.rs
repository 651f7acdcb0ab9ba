//! `chaos respond`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::respond::{Responder, RuleSet, Upstream};

/// Rules, for `--help`.
const RULES: &str = r#"Rules are a list in YAML or JSON. The first one that is about a call decides:

  # A regex, a JSON-RPC method; without `when`, all calls.
  - when: { path: ^/json_rpc$, method: get_address }
    # JSONPath of the service's answer: what callers get there in turn.
    set: { $.result.address: [4A, 4B] }
  - when: { path: ^/status }
    # Whole answers, in turn; the service is not asked.
    answers: [{ status: 503 }, { body: { ok: true } }]

An answer that has no such member passes unchanged. The control address understands:

  PUT /rules      replace all rules and count anew; bad rules are 422, and nothing changes
  DELETE /rules   end them: all answers are the service's again
  GET /           {"requests": 9, "matched": 4, "changed": 2, "rules": […]}

Whoever reaches the control address decides what callers are told: keep it on loopback. Ports below
1024 are not for this command. It ends on SIGTERM or Ctrl-C."#;

/// Stand in front of an HTTP service and give callers conflicting answers
///
/// Calls go to the service and its answers come back unchanged, unless a rule is in force. As a process
/// of a lab, beside a workload that switches the rules, it shows whether a system notices that what it
/// was told cannot be true.
#[derive(Debug, clap::Args)]
#[command(after_long_help = RULES)]
pub(super) struct RespondArgs {
    /// Where callers find it
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The service; without one, calls that no rule answers get status 502
    #[arg(long, value_name = "http://HOST:PORT")]
    upstream: Option<Upstream>,
    /// Where rules are set and counts are read
    #[arg(long, value_name = "ADDRESS:PORT")]
    control: SocketAddr,
    /// Rules that are in force from the start
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl RespondArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let rules = match &self.rules {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("read the rules {}", file.display()))?;
                match RuleSet::parse(&text, file) {
                    Ok(rules) => rules,
                    Err(error) => {
                        super::output::complain(&error.to_string());
                        return Ok(Exit::Usage.into());
                    }
                }
            }
            None => RuleSet::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut term = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let responder = Responder::new(self.upstream, rules);
            tokio::select! {
                failed = responder.serve(self.listen, self.control) => match failed? {},
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            Ok(Exit::Pass.into())
        })
    }
}
