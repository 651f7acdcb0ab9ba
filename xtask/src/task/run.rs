use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chaos_ebpf_build::Layout;
use clap::{Args, ValueEnum};

use super::Task;
use super::build::build_release;
use crate::command::shown;
use crate::monero::{Catalogue, ensure_monero};
use crate::privilege::Privilege;

/// Build everything, then run the experiments against the reference target
///
/// Without arguments every experiment in experiments/ is run; names or files run those. Arguments
/// go to `chaos run` as they are. The exit code is that of `chaos`: 0 PASS, 1 FAIL, 2 INCONCLUSIVE,
/// 3 ABORTED, 4 this host cannot do it, 5 the tool failed (also: it could not be built),
/// 6 something could not be put back, 64 usage or a bad file.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The wallets that the target trades with; `monero` takes about fifteen minutes for all
    #[arg(long, value_enum, default_value_t = Wallet::Sim)]
    wallet: Wallet,
    /// Experiments (names or files) and options of `chaos run` [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// The wallets of the reference target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wallet {
    /// The bundled simulator
    Sim,
    /// monerod and three monero-wallet-rpc of Debian's package, which is installed if need be
    Monero,
}

impl Task for Run {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        // Before minutes of building, not after them.
        let privilege = Privilege::of_this_process();
        privilege.prepare()?;
        let mut args = self.args;
        if self.wallet == Wallet::Monero {
            let catalogue = Catalogue::read(layout.root())?;
            ensure_monero(layout)?;
            args = catalogue.write(&layout.target().join("xtask/monero"), &args)?;
        }
        let chaos = build_release(layout)?;
        let mut command = privilege.command(&chaos)?;
        command.current_dir(layout.root()).arg("run");
        if args.is_empty() {
            command.arg("all");
        } else {
            command.args(&args);
        }
        eprintln!("==> {}", shown(&command));
        // Replacing this process hands through exit codes and signals as they are.
        Err(command.exec()).with_context(|| format!("cannot start {}", shown(&command)))
    }
}
