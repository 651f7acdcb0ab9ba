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
        let mut all = vec!["all".to_owned()];
        if self.wallet == Wallet::Monero {
            let catalogue = Catalogue::read(layout.root())?;
            ensure_monero(layout)?;
            (args, all) = catalogue.write(&layout.target().join("xtask/monero"), &args)?;
        }
        let chaos = build_release(layout)?;
        let mut command = privilege.command(&chaos)?;
        command.current_dir(layout.root()).args(arguments(&all, &args));
        eprintln!("==> {}", shown(&command));
        // Replacing this process hands through exit codes and signals as they are.
        Err(command.exec()).with_context(|| format!("cannot start {}", shown(&command)))
    }
}

/// The command line of `chaos`. Whether `given` names an experiment, or has options alone and their
/// values, only `chaos` knows, so it is told what to run otherwise.
fn arguments(all: &[String], given: &[String]) -> Vec<String> {
    let otherwise = all.iter().map(|name| format!("--unless-named={name}"));
    ["run".to_owned()].into_iter().chain(otherwise).chain(given.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_alone_leave_it_to_run_all() {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = owned(&["all"]);
        assert_eq!(arguments(&all, &[]), ["run", "--unless-named=all"]);
        let seeded = arguments(&all, &owned(&["--seed", "7"]));
        assert_eq!(seeded, ["run", "--unless-named=all", "--seed", "7"]);
        let both = arguments(&owned(&["a.yaml", "b.yaml"]), &owned(&["disk"]));
        assert_eq!(both, ["run", "--unless-named=a.yaml", "--unless-named=b.yaml", "disk"]);
    }
}
