//! Rules as they are written, in a policy or in an experiment.

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::rules::{Limits, Rules};
use crate::experiment::units::{Percent, Span};
use crate::experiment::{Place, Problem};

/// A problem and where it is.
pub(super) type Failed = (Place, Problem);

/// Where a file begins.
pub(super) fn top() -> Place {
    Place { line: 1, column: 1 }
}

/// The keys of [`Rules`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesDocument {
    approval: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    #[serde(default)]
    hours: Vec<Spanned<String>>,
    #[serde(default)]
    blackouts: Vec<Spanned<String>>,
    #[serde(default)]
    limits: LimitsDocument,
    #[serde(default)]
    protect: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsDocument {
    duration: Option<Span>,
    loss: Option<Percent>,
    delay: Option<Span>,
    flows: Option<Percent>,
    hosts: Option<u32>,
    instances: Option<u32>,
}

impl RulesDocument {
    /// Checks what is written.
    pub fn check(self) -> Result<Rules, (Place, Problem)> {
        let approval = match &self.approval {
            None => false,
            Some(word) => match word.value.as_str() {
                "required" => true,
                "not-required" => false,
                given => {
                    let problem = Problem::UnknownWord {
                        what: "a word for `approval`",
                        given: given.to_owned(),
                        nearest: None,
                        known: "required, not-required".into(),
                    };
                    return Err((word.referenced.into(), problem));
                }
            },
        };
        let zone = match &self.zone {
            None => None,
            Some(name) => Some(zone(name)?),
        };
        let LimitsDocument { duration, loss, delay, flows, hosts, instances } = self.limits;
        Ok(Rules {
            approval,
            zone,
            hours: times(&self.hours)?,
            blackouts: times(&self.blackouts)?,
            limits: Limits { duration, loss, delay, flows, hosts, instances },
            protect: self
                .protect
                .iter()
                .map(|text| {
                    let refused = |why| (text.referenced.into(), Problem::Refused(why));
                    text.value.parse().map_err(refused)
                })
                .collect::<Result<_, Failed>>()?,
        })
    }
}

fn zone(name: &Spanned<String>) -> Result<TimeZone, Failed> {
    TimeZone::get(&name.value).map_err(|_| {
        let wanted = "a time zone of the IANA data base, such as `Europe/Berlin` or `UTC`";
        let problem = Problem::Value { what: "`zone`", wanted, given: name.value.clone() };
        (name.referenced.into(), problem)
    })
}

fn times<T>(texts: &[Spanned<String>]) -> Result<Vec<T>, Failed>
where
    T: std::str::FromStr<Err = super::WindowError>,
{
    let read = |text: &Spanned<String>| {
        text.value.parse().map_err(|error: super::WindowError| {
            (text.referenced.into(), Problem::Refused(error.to_string()))
        })
    };
    texts.iter().map(read).collect()
}
