//! `chaos init`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use reqwest::Url;

use super::UsageError;
use super::experiments::load;
use super::output::say;
use crate::exit::Exit;
use crate::experiment::{Service, scaffold};

/// Write a first experiment for a service of your own
///
/// It starts small: packets to the service are lost for two seconds, and it has to recover by
/// itself. What you say about the service goes into its `target` section. An existing file is never
/// overwritten.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The file to write
    #[arg(default_value = "experiments/first.yaml")]
    file: PathBuf,
    /// A page of the service that answers 200 while all is well
    #[arg(long, default_value = "http://127.0.0.1:8080/")]
    url: String,
    /// What to call the service [default: the host in the URL]
    #[arg(long)]
    name: Option<String>,
    /// Its systemd unit
    #[arg(long)]
    unit: Option<String>,
    /// Its container
    #[arg(long)]
    container: Option<String>,
    /// A file with the number of its process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<String>,
    /// The network namespace it lives in: probes run there, and its packets alone are hit
    #[arg(long, value_name = "NAME|PID|PATH")]
    netns: Option<String>,
    /// The folder with its data
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// A file that it logs to (can be repeated)
    #[arg(long = "log", value_name = "FILE")]
    logs: Vec<String>,
}

impl InitArgs {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let url: Url = self
            .url
            .parse()
            .map_err(|error| UsageError(format!("--url: `{}` is not a URL: {error}", self.url)))?;
        let wrong = || UsageError(format!("--url: `{url}` is no http or https URL with a host"));
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let host = host.ok_or_else(wrong)?;
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let service = Service {
            name: self.name.unwrap_or_else(|| bare.to_owned()),
            url: self.url,
            address: bare.parse::<std::net::IpAddr>().ok().map(|address| address.to_string()),
            port,
            unit: self.unit,
            container: self.container,
            pid_file: self.pid_file,
            netns: self.netns,
            data: self.data,
            logs: self.logs,
        };
        let file = self.file;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let mut options = OpenOptions::new();
        let mut open = options.write(true).create_new(true).open(&file).map_err(|error| {
            let path = file.display();
            match error.kind() {
                ErrorKind::AlreadyExists => anyhow::Error::from(UsageError(format!(
                    "{path} exists already and is left as it is; name another file"
                ))),
                _ => anyhow::Error::from(error).context(format!("write {path}")),
            }
        })?;
        let written = open.write_all(scaffold(&service).as_bytes());
        written.with_context(|| format!("write {}", file.display()))?;
        let path = file.display().to_string();
        load("first".into(), file)?;
        say(&format!("wrote {path}; read it, then:"));
        say(&format!("  chaos validate {path}"));
        say(&format!("  chaos run {path}        (on staging, as root)"));
        Ok(Exit::Pass)
    }
}
