//! Whose means are taken away.

use super::activity::Context;
use super::named::Named;
use super::{Failed, observe, service};
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::service::Supervised;
use crate::experiment::subject::{DescriptorsSpec, Subject};

/// The keys of the fault `fd-exhaustion`.
pub(super) const DESCRIPTORS: &str =
    "fault, duration, node, process, unit, container, socket, pid-file, spare";

pub(super) fn descriptors(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
) -> Result<DescriptorsSpec, Failed> {
    let subject = subject(context, document, place, "the fault `fd-exhaustion`")?;
    Ok(DescriptorsSpec { subject, spare: document.spare.as_ref().map_or(0, |spare| spare.value) })
}

/// What is named here, else what the experiment is about.
pub(super) fn subject<'a>(
    context: &Context<'_>,
    named: impl Into<Named<'a>>,
    place: Place,
    what: &str,
) -> Result<Subject, Failed> {
    let named = named.into();
    let of_lab = named.node.or(named.process);
    let service = service::service(named)?;
    if let Some(of_lab) = of_lab {
        let one = match (&service, named.pid_file) {
            (Some(Supervised::Unit { .. }), _) => Some("unit"),
            (Some(Supervised::Container { .. }), _) => Some("container"),
            (None, Some(_)) => Some("pid-file"),
            (None, None) => None,
        };
        if let Some(one) = one {
            return Err((of_lab.referenced.into(), Problem::Exclusive { one, other: "process" }));
        }
    }
    match (service, named.pid_file) {
        (Some(service), Some(pid_file)) => {
            let one = match service {
                Supervised::Unit { .. } => "unit",
                Supervised::Container { .. } => "container",
            };
            let problem = Problem::Exclusive { one, other: "pid-file" };
            return Err((pid_file.referenced.into(), problem));
        }
        (Some(service), None) => return Ok(Subject::Service(service)),
        (None, Some(pid_file)) => return Ok(Subject::PidFile(pid_file.value.clone())),
        (None, None) => {}
    }
    if of_lab.is_none() && context.target.process.is_none() {
        if let Some(service) = service::of_target(context) {
            return Ok(Subject::Service(service));
        }
        if let Some(path) = &context.target.pid_file {
            return Ok(Subject::PidFile(path.clone()));
        }
    }
    observe::process(context, named, place, what).map(Subject::Process)
}
