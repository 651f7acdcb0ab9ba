//! Nodes that are network namespaces of somebody else.

use indexmap::IndexMap;
use serde_saphyr::Spanned;

use super::Failed;
use super::fault::is_label;
use crate::experiment::error::{Place, Problem};

/// The nodes that `target.namespaces` gives names to.
pub(super) fn namespaces(
    written: Option<&Spanned<IndexMap<String, String>>>,
    in_lab: bool,
) -> Result<IndexMap<String, String>, Failed> {
    let Some(written) = written else { return Ok(IndexMap::new()) };
    let place = Place::from(written.referenced);
    if in_lab {
        return Err((place, Problem::Exclusive { one: "lab", other: "target.namespaces" }));
    }
    // Faults tell names of nodes from addresses by this.
    let odd = |name: &&String| name.is_empty() || !name.chars().all(is_label);
    if let Some(name) = written.value.keys().find(odd) {
        let (what, wanted) = ("a name in `namespaces`", "lower-case letters, digits and `-`");
        return Err((place, Problem::Value { what, wanted, given: format!("`{name}`") }));
    }
    Ok(written.value.clone())
}
