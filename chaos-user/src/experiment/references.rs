//! `${target.KEY}` that stands for nothing.
//!
//! Other names that nobody knows stay as they are written, as in the Chaos Toolkit, which has no
//! `target`: there it can only be a slip.

use std::collections::BTreeSet;
use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::{Place, Problem};
use super::units::nearest;
use super::variables::references;

const TARGET: &str = "target.";
/// Keys of the file that are for people; nothing is filled in there.
const PROSE: [&str; 6] = ["title", "description", "tags", "version", "contributions", "extensions"];
/// Keys whose members are names for values.
const NAMING: [&str; 4] = ["configuration", "secrets", "save", "vary"];

/// The texts of a file and where they are.
#[derive(Debug)]
pub(super) enum Texts {
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(String, Spanned<Self>)>),
    Other,
}

/// Every `${target.KEY}` is a key of `target`, or something with that name.
pub(super) fn check(
    file: &Texts,
    target: &IndexMap<String, String>,
) -> Result<(), (Place, Problem)> {
    let mut known: BTreeSet<String> = target.keys().map(|key| format!("{TARGET}{key}")).collect();
    file.names(&mut known);
    let Texts::Map(members) = file else { return Ok(()) };
    for (key, member) in members.iter().filter(|(key, _)| !PROSE.contains(&key.as_str())) {
        match &member.value {
            Texts::Map(inner) if key == "steady-state-hypothesis" => {
                for (_, one) in inner.iter().filter(|(key, _)| key != "title") {
                    one.value.check(one.referenced.into(), &known)?;
                }
            }
            value => value.check(member.referenced.into(), &known)?,
        }
    }
    Ok(())
}

impl Texts {
    /// Collects what is named like a member of `target`.
    fn names(&self, known: &mut BTreeSet<String>) {
        match self {
            Self::Map(members) => {
                for (key, member) in members {
                    if NAMING.contains(&key.as_str()) {
                        member.value.keys(known);
                    }
                    member.value.names(known);
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.value.names(known)),
            Self::Text(_) | Self::Other => {}
        }
    }

    /// Secrets may be in groups, so inner keys are names, too.
    fn keys(&self, known: &mut BTreeSet<String>) {
        let Self::Map(members) = self else { return };
        for (key, member) in members {
            if key.starts_with(TARGET) {
                known.insert(key.clone());
            }
            member.value.keys(known);
        }
    }

    fn check(&self, place: Place, known: &BTreeSet<String>) -> Result<(), (Place, Problem)> {
        let one = |item: &Spanned<Self>| item.value.check(item.referenced.into(), known);
        match self {
            Self::Map(members) => members.iter().try_for_each(|(_, member)| one(member)),
            Self::List(items) => items.iter().try_for_each(one),
            Self::Text(text) => {
                let unknown = |name: &&str| name.starts_with(TARGET) && !known.contains(*name);
                let Some(name) = references(text).into_iter().find(unknown) else { return Ok(()) };
                let known: Vec<String> = known.iter().cloned().collect();
                let nearest = nearest(name, known.iter().map(String::as_str));
                let nearest = nearest.map(ToOwned::to_owned);
                Err((place, Problem::UnknownReferent { name: name.to_owned(), nearest, known }))
            }
            Self::Other => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Texts, E> {
        Ok(Texts::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Texts, E> {
        Ok(Texts::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Texts, E> {
        Ok(Texts::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Texts, E> {
        Ok(Texts::Other)
    }

    fn visit_unit<E>(self) -> Result<Texts, E> {
        Ok(Texts::Other)
    }

    fn visit_none<E>(self) -> Result<Texts, E> {
        Ok(Texts::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Texts, D::Error> {
        Texts::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Texts::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Texts, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Texts::Map(map))
    }
}
