//! What can go wrong with BPF, said so that it can be acted on.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

/// A failed BPF operation.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The kernel refused the object or its maps.
    #[error("load the eBPF object (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON): {}", chain(.0))]
    Load(#[source] Box<EbpfError>),
    /// The object was built from other sources than this binary.
    #[error(
        "the eBPF object has no {kind} `{name}`: it does not belong to this binary; rebuild both with `cargo xtask build`"
    )]
    Foreign {
        /// "map" or "program".
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// The verifier or the kernel refused a program.
    #[error("load the eBPF program `{program}`: {}", chain(.source))]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The verifier refused a program that was only tried.
    #[error("load the eBPF program `{program}`: {}", chain(.source))]
    Refused {
        /// Its name.
        program: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// A program could not be attached.
    #[error("attach `{program}` to {place}: {}", chain(.source))]
    Attach {
        /// Its name.
        program: &'static str,
        /// The device or cgroup.
        place: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The kernel accepted the attachment and then did not list it.
    #[error(
        "attach `{program}` to {place}: the kernel reported success but does not list the program there"
    )]
    NotAttached {
        /// Its name.
        program: &'static str,
        /// The device.
        place: String,
    },
    /// A map could not be read or written.
    #[error("access the eBPF map `{map}`: {}", chain(.source))]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<MapError>,
    },
    /// A map could not be mapped into memory, or another system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The errno.
        #[source]
        source: io::Error,
    },
    /// The kernel's type information lacks something.
    #[error(
        "the kernel's type information (/sys/kernel/btf/vmlinux) has no {name}, so filesystems cannot be made to fail on this kernel"
    )]
    NoType {
        /// A field or function.
        name: String,
    },
    /// More rules than the loaded object has room for.
    #[error("the plan has {needed} {what}, the loaded object has room for {room}")]
    NoRoom {
        /// Rules, masks…
        what: &'static str,
        /// Wanted.
        needed: usize,
        /// Available.
        room: usize,
    },
}

/// aya's errors say little on their own; their sources say the rest.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
