//! A lab file as it is written: names, texts and the places where they stand, nothing checked yet.

use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The whole file. Meaningful only when read through `serde_saphyr`, which supplies the places.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabDocument {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) networks: IndexMap<Spanned<String>, Option<NetworkDocument>>,
    pub(super) nodes: IndexMap<Spanned<String>, Option<NodeDocument>>,
}

/// One network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkDocument {
    pub(super) v4: Option<Spanned<String>>,
    pub(super) v6: Option<Spanned<String>>,
}

/// One node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeDocument {
    #[serde(default)]
    pub(super) networks: Attachments,
    #[serde(default)]
    pub(super) forward: bool,
    #[serde(default)]
    pub(super) processes: Vec<ProcessDocument>,
}

/// One process of a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessDocument {
    pub(super) name: Spanned<String>,
    pub(super) command: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) env: IndexMap<Spanned<String>, Spanned<String>>,
    pub(super) ready: Option<Spanned<ReadyDocument>>,
    pub(super) disk: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) restart: RestartDocument,
}

/// When a process counts as up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadyDocument {
    pub(super) http: Option<Spanned<String>>,
    pub(super) tcp: Option<Spanned<String>>,
    pub(super) within: Option<Spanned<String>>,
}

/// What follows when a process ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RestartDocument {
    #[default]
    Never,
    OnFailure,
    Always,
}

/// The networks of a node: a list of names, or a map from name to wished-for addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Attachments(pub(super) Vec<(Spanned<String>, NetworkDocument)>);

impl<'de> Deserialize<'de> for Attachments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Both;
        impl<'de> Visitor<'de> for Both {
            type Value = Attachments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of networks, or a map from network to {v4, v6}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut networks = Vec::new();
                while let Some(name) = list.next_element()? {
                    networks.push((name, NetworkDocument::default()));
                }
                Ok(Attachments(networks))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut networks = Vec::new();
                while let Some((name, wished)) =
                    map.next_entry::<Spanned<String>, Option<NetworkDocument>>()?
                {
                    networks.push((name, wished.unwrap_or_default()));
                }
                Ok(Attachments(networks))
            }
        }
        deserializer.deserialize_any(Both)
    }
}
