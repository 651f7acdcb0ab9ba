//! Containers.

use super::Failed;
use crate::experiment::document::ProviderDocument;
use crate::experiment::error::{Place, Problem};
use crate::experiment::service::{DOCKER_SOCKET, Supervised};

/// The service that is named, if one is.
pub(super) fn service(document: &ProviderDocument) -> Result<Option<Supervised>, Failed> {
    match (&document.container, &document.socket) {
        (Some(container), socket) => {
            let socket = socket.as_ref().map_or(DOCKER_SOCKET, |socket| &socket.value);
            let name = container.value.clone();
            Ok(Some(Supervised::Container { name, socket: socket.into() }))
        }
        (None, None) => Ok(None),
        (None, Some(socket)) => {
            let what = "`socket`".to_owned();
            let purpose = "which is what it leads to";
            let problem = Problem::Missing { what, key: "container", purpose };
            Err((socket.referenced.into(), problem))
        }
    }
}

/// The service that a probe looks at.
pub(super) fn needed(
    document: &ProviderDocument,
    place: Place,
    what: &str,
    key: &'static str,
) -> Result<Supervised, Failed> {
    service(document)?.ok_or_else(|| {
        let purpose = "the name of what it looks at";
        (place, Problem::Missing { what: what.to_owned(), key, purpose })
    })
}
