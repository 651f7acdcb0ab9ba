//! `{data}` and its like in the commands of a lab.

use super::spec::{NetworkSpec, NodeSpec};
use super::spec_error::Problem;

/// What placeholders stand for, for one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// `{data}`: a folder of its own.
    pub(super) data: String,
    /// `{lab}`: the lab's name.
    pub(super) lab: String,
    /// `{node}`: the node's name.
    pub(super) node: String,
    /// `{v4}`: the node's first IPv4 address.
    pub(super) v4: Option<String>,
    /// `{v6}`: the node's first IPv6 address.
    pub(super) v6: Option<String>,
}

/// Whether every placeholder in `text` will have a value on `node`.
pub(super) fn check(text: &str, node: &NodeSpec, networks: &[NetworkSpec]) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(Problem::ZeroByte { text: text.into() });
    }
    let mut on = node.attachments.iter().map(|attachment| &networks[attachment.network]);
    let values = Values {
        v4: on.clone().any(|network| network.v4.is_some()).then(String::new),
        v6: on.any(|network| network.v6.is_some()).then(String::new),
        node: node.name.clone(),
        ..Values::default()
    };
    fill(text, &values).map(drop)
}

/// The text with every placeholder replaced.
pub(super) fn fill(text: &str, values: &Values) -> Result<String, Problem> {
    let unpaired = || Problem::Brace { text: text.into() };
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            filled.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(unpaired());
        }
        let (name, after) = rest.split_once('}').ok_or_else(unpaired)?;
        let missing = |family, name| Problem::NoAddress { node: values.node.clone(), family, name };
        filled.push_str(match name {
            "data" => &values.data,
            "lab" => &values.lab,
            "node" => &values.node,
            "v4" => values.v4.as_ref().ok_or_else(|| missing("IPv4", "v4"))?,
            "v6" => values.v6.as_ref().ok_or_else(|| missing("IPv6", "v6"))?,
            _ => return Err(Problem::Placeholder { name: name.into() }),
        });
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
