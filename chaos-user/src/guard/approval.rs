//! Somebody's consent.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::experiment::{ExperimentError, Problem, yaml};

/// Somebody's consent, as it is recorded with the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who approved.
    pub by: String,
    /// Where that is written down: a ticket, a change, a page.
    pub ticket: String,
    /// Until when it is good, RFC 3339.
    pub expires: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalDocument {
    by: Option<Spanned<String>>,
    ticket: Option<Spanned<String>>,
    expires: Option<Spanned<String>>,
}

impl Approval {
    /// Reads the text of an approval; `file` is the name that errors give it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ExperimentError> {
        let document: ApprovalDocument = yaml::read(text)
            .map_err(|error| ExperimentError::from_yaml(&error, file.to_owned()))?;
        let fail = |at: Option<&Spanned<String>>, problem| ExperimentError {
            file: file.to_owned(),
            place: at.map_or_else(super::document::top, |text| text.referenced.into()),
            problem: Box::new(problem),
        };
        let text = |given: &Option<Spanned<String>>, key, purpose| match given {
            Some(text) if !text.value.trim().is_empty() => Ok(text.value.trim().to_owned()),
            other => {
                let what = "an approval".to_owned();
                Err(fail(other.as_ref(), Problem::Missing { what, key, purpose }))
            }
        };
        let by = text(&document.by, "by", "the name of who approved")?;
        let ticket = text(&document.ticket, "ticket", "where that is written down")?;
        let expires = text(&document.expires, "expires", "such as `2026-12-01T18:00Z`")?;
        let expires = expires.parse().map_err(|_| {
            let wanted = "a date and time with a zone, such as `2026-12-01T18:00Z`";
            let problem = Problem::Value { what: "`expires`", wanted, given: expires.clone() };
            fail(document.expires.as_ref(), problem)
        })?;
        Ok(Self { by, ticket, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_says_who_where_and_until_when() {
        let parse = |text: &str| Approval::parse(text, Path::new("a.yaml"));
        let read = parse("by: Ada\nticket: OPS-7\nexpires: 2026-12-01T18:00+01:00\n").unwrap();
        assert_eq!(read.expires, "2026-12-01T17:00Z".parse().unwrap());
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(refused("by: Ada\nticket: OPS-7\n"), @"a.yaml:1:1: an approval needs `expires`, such as `2026-12-01T18:00Z`");
        insta::assert_snapshot!(refused("by: Ada\nticket: ' '\nexpires: x\n"), @"a.yaml:2:9: an approval needs `ticket`, where that is written down");
        insta::assert_snapshot!(refused("by: Ada\nticket: T\nexpires: tomorrow\n"), @"a.yaml:3:10: `expires` must be a date and time with a zone, such as `2026-12-01T18:00Z`, not tomorrow");
        insta::assert_snapshot!(refused("who: Ada\n"), @"a.yaml:1:1: unknown key `who`; known here are by, ticket, expires");
    }
}
