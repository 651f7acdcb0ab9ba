//! Where programs sit, and how they get there and away again.

use std::fmt;
use std::fs::File;
use std::path::Path;

use aya::programs::cgroup_sock_addr::CgroupSockAddrLinkId;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, qdisc_add_clsact};
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, Program, ProgramError,
    SchedClassifier, TcAttachType,
};
use chaos_common::Hook;

use super::{BpfError, Object};

/// How tc programs are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mechanism {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// A BPF link, gone with the last process that holds it (Linux 6.6 and later).
    Tcx,
    /// A filter on a clsact qdisc; outlives this process, so the lease is what ends its effect.
    Clsact,
}

/// A network device as the attachment needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Index in its namespace.
    pub index: u32,
    /// Name in its namespace.
    pub name: String,
    /// Whether packets carry an Ethernet header.
    pub ethernet: bool,
}

/// tc direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcProgram {
    name: &'static str,
    attach_type: TcAttachType,
}

impl TcProgram {
    /// The program for a device and direction; `None` for hooks that are not tc's.
    pub fn of(device: &Device, hook: Hook) -> Option<Self> {
        let (name, attach_type) = match (hook, device.ethernet) {
            (Hook::Egress, true) => ("chaos_egress", TcAttachType::Egress),
            (Hook::Egress, false) => ("chaos_egress_l3", TcAttachType::Egress),
            (Hook::Ingress, true) => ("chaos_ingress", TcAttachType::Ingress),
            (Hook::Ingress, false) => ("chaos_ingress_l3", TcAttachType::Ingress),
            (Hook::CgroupIngress | Hook::Connect, _) => return None,
        };
        Some(Self { name, attach_type })
    }

    pub(super) fn named(name: &'static str, attach_type: TcAttachType) -> Self {
        Self { name, attach_type }
    }
}

/// Programs attached to cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupProgram {
    /// Packets about to be delivered.
    Ingress,
    /// IPv4 connects.
    Connect4,
    /// IPv6 connects.
    Connect6,
    /// IPv4 datagrams from unconnected sockets.
    Sendmsg4,
    /// IPv6 datagrams from unconnected sockets.
    Sendmsg6,
}

impl CgroupProgram {
    /// All that a connect-time refusal needs.
    pub const CALLS: [Self; 4] = [Self::Connect4, Self::Connect6, Self::Sendmsg4, Self::Sendmsg6];

    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "chaos_cgroup_ingress",
            Self::Connect4 => "chaos_connect4",
            Self::Connect6 => "chaos_connect6",
            Self::Sendmsg4 => "chaos_sendmsg4",
            Self::Sendmsg6 => "chaos_sendmsg6",
        }
    }
}

/// One attachment, in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HookPoint {
    /// The program.
    pub program: String,
    /// Device name or cgroup path.
    pub place: String,
    /// `tcx`, `clsact` or `cgroup`.
    pub mechanism: String,
    /// For clsact filters: what finds them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
}

/// A clsact filter's address.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filter {
    /// Device index.
    pub ifindex: u32,
    /// `ingress` or `egress`.
    pub direction: String,
    /// Priority.
    pub priority: u16,
    /// Handle.
    pub handle: u32,
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, place, mechanism, filter: _ } = self;
        write!(f, "{program} on {place} ({mechanism})")
    }
}

enum Link {
    Tc(SchedClassifierLink),
    Skb(aya::programs::cgroup_skb::CgroupSkbLinkId),
    SockAddr(&'static str, CgroupSockAddrLinkId),
}

/// An attached program. Clsact filters must be dropped inside their network namespace.
#[must_use = "dropping it detaches the program"]
pub struct Attached {
    /// Where.
    pub point: HookPoint,
    link: Link,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({})", self.point)
    }
}

impl Object {
    /// Attaches to a device of the calling thread's network namespace and reads back that the
    /// program is there.
    pub fn attach_tc(
        &mut self,
        device: &Device,
        program: TcProgram,
        mechanism: Mechanism,
    ) -> Result<Attached, BpfError> {
        let TcProgram { name, attach_type } = program;
        if mechanism != Mechanism::Clsact {
            match self.attach_tcx(device, program) {
                Err(BpfError::Attach { source, .. })
                    if mechanism == Mechanism::Auto && is_unsupported(&source) => {}
                other => return other,
            }
        }
        // There may be one already; if there is none then, attaching says so.
        let _ = qdisc_add_clsact(&device.name);
        let classifier = self.classifier(name)?;
        let failed = attach_error(name, &device.name);
        let id = classifier
            .attach_with_options(
                &device.name,
                attach_type,
                TcAttachOptions::Netlink(NlOptions::default()),
            )
            .map_err(&failed)?;
        let link = classifier.take_link(id).map_err(&failed)?;
        let filter = Filter {
            ifindex: device.index,
            direction: direction(attach_type).into(),
            priority: link.priority().map_err(&failed)?,
            handle: link.handle().map_err(&failed)?.into(),
        };
        Ok(Attached {
            point: point(name, &device.name, "clsact", Some(filter)),
            link: Link::Tc(link),
        })
    }

    fn attach_tcx(&mut self, device: &Device, program: TcProgram) -> Result<Attached, BpfError> {
        let TcProgram { name, attach_type } = program;
        let classifier = self.classifier(name)?;
        let failed = attach_error(name, &device.name);
        // Arriving packets meet faults before anything else, leaving ones after everything else:
        // the fault is outside, where the network is.
        let order = match attach_type {
            TcAttachType::Egress => LinkOrder::last(),
            _ => LinkOrder::first(),
        };
        let id = classifier
            .attach_with_options(&device.name, attach_type, TcAttachOptions::TcxOrder(order))
            .map_err(&failed)?;
        let link = classifier.take_link(id).map_err(&failed)?;
        let own = classifier.info().map_err(&failed)?.id();
        let (_, programs) =
            SchedClassifier::query_tcx(&device.name, attach_type).map_err(&failed)?;
        if !programs.iter().any(|program| program.id() == own) {
            return Err(BpfError::NotAttached { program: name, place: device.name.clone() });
        }
        Ok(Attached { point: point(name, &device.name, "tcx", None), link: Link::Tc(link) })
    }

    /// Attaches to a cgroup (v2); its descendants are included.
    pub fn attach_cgroup(
        &mut self,
        path: &Path,
        program: CgroupProgram,
    ) -> Result<Attached, BpfError> {
        let name = program.name();
        let place = path.display().to_string();
        let directory = File::open(path)
            .map_err(|source| BpfError::Io { what: "open the cgroup's folder", source })?;
        let failed = attach_error(name, &place);
        // Links are additive whatever the mode, and kernels before 6.17 refuse any other.
        let mode = CgroupAttachMode::Single;
        let link = if program == CgroupProgram::Ingress {
            let program: &mut CgroupSkb = self.program(name)?;
            program.load_once(name)?;
            let id =
                program.attach(directory, CgroupSkbAttachType::Ingress, mode).map_err(&failed)?;
            Link::Skb(id)
        } else {
            let program: &mut CgroupSockAddr = self.program(name)?;
            program.load_once(name)?;
            Link::SockAddr(name, program.attach(directory, mode).map_err(&failed)?)
        };
        Ok(Attached { point: point(name, &place, "cgroup", None), link })
    }

    /// Takes a program off again. Clsact filters: inside their network namespace.
    pub fn detach(&mut self, attached: Attached) -> Result<(), BpfError> {
        let Attached { point, link } = attached;
        match link {
            Link::Tc(link) => drop(link),
            Link::Skb(id) => {
                let name = CgroupProgram::Ingress.name();
                let program: &mut CgroupSkb = self.program(name)?;
                program.detach(id).map_err(attach_error(name, &point.place))?;
            }
            Link::SockAddr(name, id) => {
                let program: &mut CgroupSockAddr = self.program(name)?;
                program.detach(id).map_err(attach_error(name, &point.place))?;
            }
        }
        Ok(())
    }

    /// The kernel's id of a program, by which its filter is known before it is there.
    pub fn program_id(&mut self, program: TcProgram) -> Result<u32, BpfError> {
        let TcProgram { name, .. } = program;
        let info = self.classifier(name)?.info();
        info.map(|info| info.id())
            .map_err(|source| BpfError::Program { program: name, source: Box::new(source) })
    }

    /// The loaded classifier with this name, for benchmarks and test runs as well.
    pub fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier, BpfError> {
        let program: &mut SchedClassifier = self.program(name)?;
        program.load_once(name)?;
        Ok(program)
    }

    /// The loaded cgroup program with this name, for test runs.
    pub fn cgroup_classifier(&mut self) -> Result<&mut CgroupSkb, BpfError> {
        let name = CgroupProgram::Ingress.name();
        let program: &mut CgroupSkb = self.program(name)?;
        program.load_once(name)?;
        Ok(program)
    }

    /// The names of all programs in the object.
    pub fn program_names(&mut self) -> Vec<String> {
        self.ebpf().programs().map(|(name, _)| name.to_owned()).collect()
    }

    /// Loads a program without attaching it, which is how `chaos doctor` asks what this kernel's
    /// verifier accepts.
    pub fn load_program(&mut self, name: &str) -> Result<(), BpfError> {
        let refused = |source| BpfError::Refused { program: name.into(), source: Box::new(source) };
        match self.ebpf().program_mut(name) {
            Some(Program::SchedClassifier(program)) => program.load().map_err(refused),
            Some(Program::CgroupSkb(program)) => program.load().map_err(refused),
            Some(Program::SocketFilter(program)) => program.load().map_err(refused),
            Some(Program::CgroupSockAddr(program)) => program.load().map_err(refused),
            _ => Err(BpfError::Foreign { kind: "program", name: "of a known type" }),
        }
    }

    fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, BpfError>
    where
        &'a mut P: TryFrom<&'a mut Program>,
    {
        let foreign = BpfError::Foreign { kind: "program", name };
        match self.ebpf().program_mut(name).map(TryFrom::try_from) {
            Some(Ok(program)) => Ok(program),
            _ => Err(foreign),
        }
    }
}

/// Loads a program the first time it is needed: a kernel that lacks one hook keeps the rest.
trait LoadOnce {
    fn load_once(&mut self, name: &'static str) -> Result<(), BpfError>;
}

macro_rules! load_once {
    ($($program:ty),*) => {$(
        impl LoadOnce for $program {
            fn load_once(&mut self, name: &'static str) -> Result<(), BpfError> {
                if self.fd().is_ok() {
                    return Ok(());
                }
                self.load()
                    .map_err(|source| BpfError::Program { program: name, source: Box::new(source) })
            }
        }
    )*};
}
load_once!(SchedClassifier, CgroupSkb, CgroupSockAddr);

fn attach_error(program: &'static str, place: &str) -> impl Fn(ProgramError) -> BpfError {
    let place = place.to_owned();
    move |source| BpfError::Attach { program, place: place.clone(), source: Box::new(source) }
}

fn point(program: &str, place: &str, mechanism: &str, filter: Option<Filter>) -> HookPoint {
    HookPoint { program: program.into(), place: place.into(), mechanism: mechanism.into(), filter }
}

fn direction(attach_type: TcAttachType) -> &'static str {
    match attach_type {
        TcAttachType::Egress => "egress",
        _ => "ingress",
    }
}

/// Kernels before 6.6 do not know the TCX attach types and answer EINVAL.
fn is_unsupported(error: &ProgramError) -> bool {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::EINVAL),
        _ => false,
    }
}
