//! A host's policy: what anybody may do there.

use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::document::RulesDocument;
use super::rules::{Environment, Rules};
use crate::experiment::{ExperimentError, Place, Problem, yaml};

/// What anybody may do on a host, by environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// What the host is; nothing can be run on it as something else.
    pub environment: Option<Environment>,
    /// What holds in every environment.
    pub always: Rules,
    /// What holds in one.
    pub environments: Vec<(Environment, Rules)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyDocument {
    environment: Option<Spanned<String>>,
    #[serde(default)]
    always: RulesDocument,
    #[serde(default)]
    environments: IndexMap<String, Spanned<RulesDocument>>,
}

impl Policy {
    /// Reads the text of a policy; `file` is the name that errors give it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ExperimentError> {
        let document: PolicyDocument = yaml::read(text)
            .map_err(|error| ExperimentError::from_yaml(&error, file.to_owned()))?;
        Self::check(document).map_err(|(place, problem)| ExperimentError {
            file: file.to_owned(),
            place,
            problem: Box::new(problem),
        })
    }

    fn check(document: PolicyDocument) -> Result<Self, (Place, Problem)> {
        let environment = match document.environment {
            None => None,
            Some(name) => {
                let read = name.value.parse();
                Some(read.map_err(|why| (name.referenced.into(), Problem::Refused(why)))?)
            }
        };
        let mut environments = Vec::with_capacity(document.environments.len());
        for (name, rules) in document.environments {
            let place = Place::from(rules.referenced);
            let name = name.parse().map_err(|why| (place, Problem::Refused(why)))?;
            environments.push((name, rules.value.check()?));
        }
        Ok(Self { environment, always: document.always.check()?, environments })
    }

    /// The rules of an environment, and those that always hold.
    pub fn rules_for<'a>(
        &'a self,
        environment: Option<&'a Environment>,
    ) -> impl Iterator<Item = &'a Rules> {
        let own = self.environments.iter().filter(move |(name, _)| Some(name) == environment);
        std::iter::once(&self.always).chain(own.map(|(_, rules)| rules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
environment: production
always:
  blackouts: ['2026-12-20..2027-01-03']
environments:
  production:
    approval: required
    zone: Europe/Berlin
    hours: [mon-thu 09:00-16:00]
    limits: { duration: 5m, loss: 20%, delay: 500ms, flows: 10%, hosts: 1, instances: 1 }
  staging:
    limits: { duration: 1h }
";

    #[test]
    fn a_policy_reads() {
        let policy = Policy::parse(POLICY, Path::new("policy.yaml")).unwrap();
        let production: Environment = "production".parse().unwrap();
        let rules: Vec<&Rules> = policy.rules_for(Some(&production)).collect();
        assert_eq!(rules.len(), 2);
        assert!(rules[1].approval && rules[1].zone.is_some() && rules[1].hours.len() == 1);
        assert_eq!(rules[1].limits.hosts, Some(1));
        assert_eq!(policy.rules_for(None).count(), 1);
        assert_eq!(Policy::parse("{}", Path::new("p")).unwrap(), Policy::default());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let replaced = |old: &str, new: &str| {
            assert!(POLICY.contains(old), "{old}");
            let text = POLICY.replacen(old, new, 1);
            Policy::parse(&text, Path::new("policy.yaml")).unwrap_err().to_string()
        };
        insta::assert_snapshot!(replaced("approval: required", "approval: yes"), @"policy.yaml:7:15: `yes` is not a word for `approval`; valid are required, not-required");
        insta::assert_snapshot!(replaced("approval:", "aproval:"), @"policy.yaml:7:5: unknown key `aproval`; did you mean `approval`?");
        insta::assert_snapshot!(replaced("Europe/Berlin", "Europe/Bonn"), @"policy.yaml:8:11: `zone` must be a time zone of the IANA data base, such as `Europe/Berlin` or `UTC`, not Europe/Bonn");
        insta::assert_snapshot!(replaced("mon-thu 09", "mon-thy 09"), @"policy.yaml:9:13: `thy` is not a day of the week; did you mean `thu`?; days are mon, tue, wed, thu, fri, sat, sun");
        insta::assert_snapshot!(replaced("environment: production", "environment: prod"), @"policy.yaml:2:14: `prod` is not an environment; did you mean `production`?");
        insta::assert_snapshot!(replaced("  staging:", "  Staging:"), @"policy.yaml:12:5: `Staging` is not an environment; write one word of small letters, digits and `-`, such as `staging` or `production`");
        insta::assert_snapshot!(replaced("duration: 5m", "duration: 5"), @"policy.yaml:10:25: `5` is not a duration: it has no unit; did you mean `5s` or `5ms`?");
        insta::assert_snapshot!(replaced("hosts: 1", "hosts: -1"), @"policy.yaml:10:73: invalid u32");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|([a-z:{}\\[\\], \n-]{0,80})") {
            let _ = Policy::parse(&text, Path::new("e"));
            let _ = super::super::Approval::parse(&text, Path::new("e"));
        }
    }
}
