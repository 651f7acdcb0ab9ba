use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use chaos_ebpf_build::Layout;
use clap::Args;

use super::Task;
use super::build::build_object;
use crate::command::{cargo, shown};
use crate::privilege::Privilege;
use crate::progress::run_logged;
use crate::setup::ensure_all;
use crate::suite::executables;

/// Kill, stop and hinder runs at many points of their lives, and look what is left
///
/// After each the machine has to be as it was. Prints a table; the seed repeats the points.
#[derive(Debug, Args)]
pub(crate) struct Torture {
    /// How many points
    #[arg(long, default_value_t = 300)]
    points: u32,
    /// Repeats the points of an earlier time
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults whose name contains this
    #[arg(long, value_name = "FAULT")]
    only: Option<String>,
    /// Put the table into docs/reliability.md
    #[arg(long)]
    write: bool,
}

/// What the table stands between.
const BEGIN: &str = "<!-- torture: begin -->\n";
const END: &str = "<!-- torture: end -->";

impl Task for Torture {
    fn run(self, layout: &Layout) -> Result<ExitCode> {
        build_object(layout, &ensure_all(layout)?)?;
        let mut build = cargo(layout, "test");
        build
            .args(["-p", "chaos-user", "--test", "torture", "--no-run", "--locked"])
            .arg("--message-format=json-render-diagnostics");
        let finished = run_logged(layout, "build the torture", &mut build)?.success()?;
        // The experiments start programs of the reference target.
        let mut target = cargo(layout, "build");
        target.args(["-p", "marketplace", "--locked"]);
        run_logged(layout, "build the reference target", &mut target)?.success()?;
        let messages = fs::read_to_string(&finished.out)
            .with_context(|| format!("cannot read {}", finished.out.display()))?;
        let programs = executables(&messages, "test");
        let [program] = programs.as_slice() else { bail!("chaos-user has no torture") };
        let privilege = Privilege::of_this_process();
        privilege.prepare()?;
        let scratch = layout.root().join("target/xtask");
        fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        let table = scratch.join("torture.md");
        // sudo hands no environment through, so this does.
        let mut command = privilege.command(Path::new("/usr/bin/env"))?;
        command.current_dir(&program.package);
        command.arg(format!("CHAOS_TORTURE_POINTS={}", self.points));
        command.arg(format!("CHAOS_TORTURE_TABLE={}", table.display()));
        if let Some(seed) = self.seed {
            command.arg(format!("CHAOS_TEST_SEED={seed}"));
        }
        if let Some(only) = &self.only {
            command.arg(format!("CHAOS_TORTURE_ONLY={only}"));
        }
        command.arg(&program.path).arg("--nocapture");
        eprintln!("==> {}", shown(&command));
        let status = command.status().with_context(|| format!("cannot start {}", program.name))?;
        if !status.success() {
            bail!("something was left, or the torture itself failed ({status})");
        }
        if self.write {
            let path = layout.root().join("docs/reliability.md");
            let read = |path: &Path| {
                fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
            };
            let text = with_table(&read(&path)?, &read(&table)?)?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn with_table(page: &str, table: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("docs/reliability.md has no place for the table")?;
    Ok(format!("{before}{BEGIN}\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_the_old_one() {
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        let once = with_table(&page, "| new |\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\n| new |\n\n{END}\nb\n"));
        assert_eq!(with_table(&once, "| new |").unwrap(), once);
        assert!(with_table("no place", "").is_err());
    }
}
