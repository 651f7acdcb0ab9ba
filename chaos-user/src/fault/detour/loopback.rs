//! What the loopback device needs so that packets can come back to it.
//!
//! A packet that comes back has lost its route, so IPv4 looks at its addresses again and takes
//! 127.0.0.0/8 and the host's own for a martian's. IPv6 needs nothing.

use super::{DetourError, Surroundings};
use crate::fault::FaultError;
use crate::fault::SysctlUndo;
use crate::fault::journal::{Entry, HostLock, Record};

const SETTINGS: [&str; 2] = ["ipv4/conf/lo/route_localnet", "ipv4/conf/lo/accept_local"];
const ON: &str = "1";

/// Makes the settings, journalled first, if the loopback is among the devices.
pub(super) fn prepare(surroundings: &Surroundings<'_>) -> Result<Vec<Entry>, FaultError> {
    let Surroundings { netns, journal, devices, .. } = surroundings;
    let mut entries = Vec::new();
    if devices.iter().all(|link| link.name != "lo") {
        return Ok(entries);
    }
    for name in SETTINGS {
        let path = format!("/proc/sys/net/{name}");
        let failed = |operation| {
            move |source| DetourError::Sysctl { operation, name: name.to_owned(), source }
        };
        let done = (|| -> Result<(), FaultError> {
            let alone = HostLock::take()?;
            let now = netns.run(|| std::fs::read_to_string(&path))?.map_err(failed("read"))?;
            let record = SysctlUndo::new((*netns).into(), name, now.trim(), ON)
                .map_err(|error| failed("look up")(std::io::Error::other(error.to_string())))?;
            entries.push(journal.append(Record::Sysctl(record))?);
            netns.run(|| std::fs::write(&path, ON))?.map_err(failed("write"))?;
            drop(alone);
            Ok(())
        })();
        if let Err(error) = done {
            put_back(entries);
            return Err(error);
        }
    }
    Ok(entries)
}

/// Puts them back; what could not be is described.
pub(super) fn put_back(entries: Vec<Entry>) -> Vec<String> {
    let undone = entries.into_iter().rev().map(Entry::undo);
    undone.filter_map(|undone| Some(undone.err()?.to_string())).collect()
}
