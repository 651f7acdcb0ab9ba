//! `--dry-run`: everything but the act.

use serde::Serialize;

use super::{Request, sockets};
use crate::exit::Exit;
use crate::experiment::units::Span;
use crate::fault::{Backend, preview};
use crate::guard::Clearance;
use crate::plan::growth;

#[derive(Debug, Serialize)]
struct DryRun {
    fault: String,
    namespace: String,
    lasts: String,
    ramp: Option<String>,
    seed: u64,
    devices: Vec<String>,
    programs: Vec<String>,
    held_by: Option<Backend>,
    rules: Vec<(String, String)>,
    sockets: Vec<String>,
    sockets_there: usize,
    clearance: Clearance,
}

pub(super) fn run(request: &Request) -> anyhow::Result<Exit> {
    let fault = &request.fault;
    let preview = preview(fault)?;
    let (sockets, sockets_there) = sockets::hit_by(fault)?;
    let dry_run = DryRun {
        fault: fault.name.clone(),
        namespace: fault.netns.to_string(),
        lasts: fault.lasts.to_string(),
        ramp: (fault.ramp > Span::ZERO).then(|| fault.ramp.to_string()),
        seed: fault.seed,
        devices: preview.devices,
        programs: preview.programs,
        held_by: preview.holder,
        rules: fault
            .rules
            .iter()
            .map(|rule| (rule.name.clone(), format!("{}, {}", rule.action, rule.selector)))
            .collect(),
        sockets: sockets
            .iter()
            .map(|socket| {
                let name = if socket.protocol == 6 { "tcp" } else { "udp" };
                let end = |(address, port)| std::net::SocketAddr::new(address, port);
                format!("{name} {} to {}", end(socket.local), end(socket.remote))
            })
            .collect(),
        sockets_there,
        clearance: request.clearance.clone(),
    };
    if request.json {
        println!("{}", serde_json::to_string(&dry_run)?);
        return Ok(Exit::Pass);
    }
    println!(
        "{} in {} for {}{}, seed {}",
        dry_run.fault,
        dry_run.namespace,
        dry_run.lasts,
        growth::words(fault.ramp),
        dry_run.seed
    );
    println!("would attach {} to {}", dry_run.programs.join(", "), dry_run.devices.join(", "));
    println!("{}blast radius: {}", dry_run.clearance, dry_run.clearance.extent);
    if let Some(holder) = dry_run.held_by {
        println!("would hold packets by {holder}");
    }
    println!("rules:");
    for (name, text) in &dry_run.rules {
        println!("  {name}: {text}");
    }
    if dry_run.sockets.is_empty() {
        println!("no live socket would be hit");
    } else {
        println!("{} live sockets would be hit:", dry_run.sockets.len());
        println!("  of {sockets_there} that have a peer");
        dry_run.sockets.iter().for_each(|socket| println!("  {socket}"));
    }
    println!("nothing was touched");
    Ok(Exit::Pass)
}
