//! `getent hosts NAME` and `getent ahosts NAME`, as the guest has no C library that brings one.
//!
//! The static resolver reads `/etc/hosts` and asks the servers of `/etc/resolv.conf` like any
//! program's, so tests see what a lab's node sees.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::process::ExitCode;

/// What the program is called when it is this.
pub(crate) const NAME: &str = "getent";

/// glibc's exit code for a key that is not found.
const NOT_FOUND: u8 = 2;

/// Runs it with its arguments.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [database, name] = arguments else {
        eprintln!("usage: {NAME} hosts|ahosts NAME");
        return ExitCode::from(1);
    };
    if !matches!(database.as_str(), "hosts" | "ahosts") {
        eprintln!("Unknown database: {database}");
        return ExitCode::from(1);
    }
    let mut addresses: Vec<IpAddr> = (name.as_str(), 0)
        .to_socket_addrs()
        .into_iter()
        .flatten()
        .map(|found| found.ip())
        .collect();
    addresses.dedup();
    if database == "hosts" {
        addresses.truncate(1);
    }
    for address in &addresses {
        println!("{address:<15} {name}");
    }
    if addresses.is_empty() { ExitCode::from(NOT_FOUND) } else { ExitCode::SUCCESS }
}
