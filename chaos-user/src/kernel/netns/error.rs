//! What can go wrong with a namespace.

use std::path::PathBuf;

use nix::errno::Errno;

use super::handle::NetNsId;

/// Where `ip netns` and its relatives keep named namespaces.
pub(super) const NAMED: &str = "/run/netns";

/// Why a network namespace could not be found, made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// No namespace of this name is known.
    #[error("no network namespace is named {name:?}: {}", known_names(known, nearest.as_deref()))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// Every name that exists, sorted.
        known: Vec<String>,
        /// The closest of them, if one is close.
        nearest: Option<String>,
    },
    /// The text is not a name, a process id or a path.
    #[error(
        "{text:?} is not a network namespace: give a name from {NAMED}, a process id, or a path"
    )]
    Malformed {
        /// What was given.
        text: String,
    },
    /// A number that is both a process id and a name.
    #[error(
        "{pid} is a process and also the name of a network namespace: \
         write /proc/{pid}/ns/net or {NAMED}/{pid}"
    )]
    Ambiguous {
        /// The number.
        pid: u32,
    },
    /// The process does not exist (any more).
    #[error("cannot open the network namespace of process {pid}: there is no such process")]
    NoProcess {
        /// Its id.
        pid: u32,
    },
    /// The file could not be opened.
    #[error("cannot open the network namespace {}: {}", path.display(), errno.desc())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The file is something else than a network namespace.
    #[error("{} is not a network namespace but {what}", path.display())]
    NotNetwork {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The kernel did not make a namespace.
    #[error("cannot create a network namespace: {}{}", errno.desc(), needs_admin(*errno))]
    Create {
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel did not let a thread in.
    #[error("cannot enter network namespace {id}: {}{}", errno.desc(), needs_admin(*errno))]
    Enter {
        /// The namespace.
        id: NetNsId,
        /// What the kernel said.
        errno: Errno,
    },
    /// A property of the namespace could not be read.
    #[error("cannot read the {what} of a network namespace: {}", errno.desc())]
    Inspect {
        /// Which property.
        what: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel is too old to number namespaces for life.
    #[error("cannot read the cookie of network namespace {id}: this needs Linux 5.14")]
    NoCookie {
        /// The namespace.
        id: NetNsId,
    },
    /// The thread that was to enter the namespace could not be started.
    #[error("cannot start a thread for network namespace {id}: {source}")]
    Thread {
        /// The namespace.
        id: NetNsId,
        /// Why.
        source: std::io::Error,
    },
    /// The async runtime on that thread could not be started.
    #[error("cannot start an async runtime in network namespace {id}: {source}")]
    Runtime {
        /// The namespace.
        id: NetNsId,
        /// Why.
        source: std::io::Error,
    },
}

fn known_names(known: &[String], nearest: Option<&str>) -> String {
    let known = if known.is_empty() {
        format!("{NAMED} holds none; a process id or a path works too")
    } else {
        format!("known are {}", known.join(", "))
    };
    match nearest {
        Some(nearest) => format!("did you mean {nearest:?}? ({known})"),
        None => known,
    }
}

fn needs_admin(errno: Errno) -> &'static str {
    if errno == Errno::EPERM { " (this needs CAP_SYS_ADMIN)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let error = NetNsError::UnknownName {
            name: "buyr".into(),
            known: vec!["buyer".into(), "vendor".into()],
            nearest: Some("buyer".into()),
        };
        assert_eq!(
            error.to_string(),
            "no network namespace is named \"buyr\": did you mean \"buyer\"? \
             (known are buyer, vendor)"
        );
    }

    #[test]
    fn a_missing_right_is_named() {
        let error = NetNsError::Create { errno: Errno::EPERM }.to_string();
        assert!(error.ends_with("(this needs CAP_SYS_ADMIN)"), "{error}");
    }
}
