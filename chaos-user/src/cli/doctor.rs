//! `chaos doctor`.

use serde::Serialize;

use crate::exit::Exit;
use crate::fault::{leftovers, runs};
use crate::host::{Feature, Support, capabilities, check_capabilities, features};

/// Say what this host can do, what is missing and what follows from that, and what earlier runs
/// left behind
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    kernel: String,
    capabilities: Vec<(String, &'static str, bool)>,
    features: Vec<Feature>,
    leftovers: Vec<Leftover>,
    able: bool,
}

/// What a dead run left.
#[derive(Debug, Serialize)]
struct Leftover {
    run: String,
    left: Vec<String>,
}

impl DoctorArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let privileged = check_capabilities().is_ok();
        let features = if privileged { features() } else { Vec::new() };
        let works = |name| {
            features.iter().any(|feature| feature.name == name && feature.support == Support::Yes)
        };
        let able = works("programs") && (works("tcx") || works("clsact"));
        let kernel = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let dead = runs()?.into_iter().filter(|run| !run.live);
        let leftovers = dead.map(|run| Leftover { left: leftovers(&run), run: run.name }).collect();
        let report = Report { kernel, capabilities: capabilities(), features, leftovers, able };
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print(&report);
        }
        Ok(if report.able { Exit::Pass } else { Exit::HostUnable })
    }
}

fn print(report: &Report) {
    let Report { kernel, capabilities, features, leftovers, able } = report;
    println!("kernel {kernel}");
    println!("privileges:");
    for (name, purpose, present) in capabilities {
        println!("  {} {name}: {purpose}", if *present { "yes" } else { "NO " });
    }
    if features.is_empty() {
        println!("features cannot be probed without these privileges; run as root");
    } else {
        println!("features:");
    }
    for feature in features {
        let Feature { name, purpose, since, support } = feature;
        match support {
            Support::Yes => println!("  yes {name}: {purpose}"),
            Support::No(why) => println!("  NO  {name} (Linux {since}): {purpose}\n      {why}"),
            Support::Unknown(why) => {
                println!("  ?   {name}: {purpose}\n      could not be probed: {why}");
            }
        }
    }
    for Leftover { run, left } in leftovers {
        let left = if left.is_empty() { "its journal".to_owned() } else { left.join(", ") };
        println!("leftover of the dead run {run}: {left}; run `chaos heal`");
    }
    println!("{}", if *able { "this host can run chaos" } else { "this host cannot run chaos" });
}
