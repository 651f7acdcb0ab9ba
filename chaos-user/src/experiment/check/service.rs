//! Units and containers.

use super::Failed;
use super::activity::Context;
use super::named::Named;
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::service::{DOCKER_SOCKET, Supervised};

/// The service that is named, if one is.
pub(super) fn service<'a>(named: impl Into<Named<'a>>) -> Result<Option<Supervised>, Failed> {
    let Named { unit, container, socket, .. } = named.into();
    let exclusive = |one: &'static str, other: &'static str, at: serde_saphyr::Location| {
        Err((at.into(), Problem::Exclusive { one, other }))
    };
    match (unit, container, socket) {
        (Some(_), Some(container), _) => exclusive("unit", "container", container.referenced),
        (Some(_), None, Some(socket)) => exclusive("unit", "socket", socket.referenced),
        (Some(unit), None, None) => Ok(Some(Supervised::Unit { name: unit.value.clone() })),
        (None, Some(container), socket) => {
            let socket = socket.map_or(DOCKER_SOCKET, |socket| &socket.value);
            let name = container.value.clone();
            Ok(Some(Supervised::Container { name, socket: socket.into() }))
        }
        (None, None, None) => Ok(None),
        (None, None, Some(socket)) => {
            let what = "`socket`".to_owned();
            let purpose = "which is what it leads to";
            let problem = Problem::Missing { what, key: "container", purpose };
            Err((socket.referenced.into(), problem))
        }
    }
}

/// The service that the experiment is about, if that is no process of a lab.
pub(super) fn of_target(context: &Context<'_>) -> Option<Supervised> {
    let target = &context.target;
    if target.process.is_some() {
        return None;
    }
    let unit = target.unit.clone().map(|name| Supervised::Unit { name });
    let container = |name: &String| {
        let socket = target.socket.as_deref().unwrap_or(DOCKER_SOCKET).into();
        Supervised::Container { name: name.clone(), socket }
    };
    unit.or_else(|| target.container.as_ref().map(container))
}

/// The service that a probe looks at.
pub(super) fn needed(
    context: &Context<'_>,
    document: &ProviderDocument,
    place: Place,
    what: &str,
    key: &'static str,
) -> Result<Supervised, Failed> {
    if let Some(service) = service(document)? {
        return Ok(service);
    }
    let of_target = of_target(context).filter(|service| match service {
        Supervised::Unit { .. } => key == "unit",
        Supervised::Container { .. } => key == "container",
    });
    of_target.ok_or_else(|| {
        let purpose = "here or as a key of `target`";
        (place, Problem::Missing { what: what.to_owned(), key, purpose })
    })
}
