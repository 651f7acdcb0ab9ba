//! The ways this service can be told to be wrong.
//!
//! A fault-injection tool is only worth trusting if it is known to go red when the system under
//! test is broken. Each [`Defect`] is one small mistake of a kind that real services ship with,
//! switched on by name (`--defect NAME`, or `MARKETPLACE_DEFECTS=a,b`). With none of them on, the
//! service is healthy. The place of each is found by searching for `Defect::Name`.

mod catalogue;

pub use catalogue::{CATALOGUE, Defect, Entry, Scenario};

/// The defects that are switched on in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defects(u64);

impl Defects {
    /// No defect: the healthy service.
    pub const NONE: Self = Self(0);

    /// Whether `defect` is switched on.
    #[must_use]
    pub const fn has(self, defect: Defect) -> bool {
        self.0 & (1 << defect as u64) != 0
    }

    /// Whether nothing is switched on.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The defects that are on, in catalogue order.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        CATALOGUE.iter().map(|entry| entry.defect).filter(move |defect| self.has(*defect))
    }
}

impl FromIterator<Defect> for Defects {
    fn from_iter<I: IntoIterator<Item = Defect>>(defects: I) -> Self {
        Self(defects.into_iter().fold(0, |set, defect| set | 1 << defect as u64))
    }
}

/// A name that is not in the catalogue.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("no defect is called {name:?}; `marketplace defects` lists them")]
pub struct UnknownDefect {
    /// The name as it was given.
    pub name: String,
}

impl std::str::FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        CATALOGUE
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.defect)
            .ok_or_else(|| UnknownDefect { name: name.to_owned() })
    }
}

impl Defect {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        CATALOGUE.iter().find(|entry| entry.defect == self).map_or("unknown", |entry| entry.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_unique_and_parses_back() {
        for entry in CATALOGUE {
            assert_eq!(entry.name.parse::<Defect>().unwrap(), entry.defect);
            assert_eq!(entry.defect.name(), entry.name);
            assert!(!entry.caught_by.is_empty(), "{} is caught by nothing", entry.name);
        }
        assert!("no-such".parse::<Defect>().is_err());
    }

    #[test]
    fn a_set_holds_exactly_what_was_put_in() {
        for entry in CATALOGUE {
            let set: Defects = [entry.defect].into_iter().collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), [entry.defect]);
        }
        assert!(Defects::NONE.is_empty());
    }

    #[test]
    fn each_scenario_has_a_defect_to_catch() {
        for scenario in Scenario::ALL {
            assert!(CATALOGUE.iter().any(|entry| entry.caught_by.contains(&scenario)));
        }
    }
}
