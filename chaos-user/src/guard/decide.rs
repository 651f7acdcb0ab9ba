//! Whether something may be done.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::extent::{Extent, FaultExtent};
use super::policy::Policy;
use super::rules::{Environment, Limits, Rules};
use super::window::covered;
use crate::experiment::units::Span;
use crate::plan::{Protect, Rule};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Where: what the experiment or the command line says.
    pub environment: Option<&'a Environment>,
    /// The rules that the experiment itself sets.
    pub own: Option<&'a Rules>,
    /// The rules of this host.
    pub policies: &'a [Policy],
    /// What it would do.
    pub extent: &'a Extent,
    /// Somebody's consent.
    pub approval: Option<&'a Approval>,
    /// The time of day.
    pub now: Timestamp,
}

/// It may be done; recorded with the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clearance {
    /// Where.
    pub environment: Option<Environment>,
    /// Who approved, if somebody did.
    pub approval: Option<Approval>,
    /// How far it reaches.
    pub extent: Extent,
}

impl fmt::Display for Clearance {
    /// Where and by whose approval, ready to be followed by something else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(environment) = &self.environment {
            write!(f, "environment {environment}, ")?;
        }
        if let Some(Approval { by, ticket, expires }) = &self.approval {
            write!(f, "approved by {by} ({ticket}) until {expires}, ")?;
        }
        Ok(())
    }
}

/// Decides. An error lists everything that stands against it, as sentences.
pub fn decide(asked: &Asked<'_>) -> Result<Clearance, Vec<String>> {
    let Asked { environment, own, policies, extent, approval, now } = *asked;
    let mut against = Vec::new();
    let hosts = policies.iter().find_map(|policy| policy.environment.as_ref());
    if let (Some(host), Some(given)) = (hosts, environment)
        && host != given
    {
        against.push(format!(
            "this host is `{host}` by its policy, and this is for `{given}`; run it where it belongs, or \
             make it one for `{host}`"
        ));
    }
    let environment = hosts.or(environment);
    let built_in =
        Rules { approval: environment.is_some_and(Environment::is_production), ..Rules::default() };
    let all: Vec<&Rules> = policies
        .iter()
        .flat_map(|policy| policy.rules_for(environment))
        .chain(own)
        .chain([&built_in])
        .collect();
    let until = end(now, extent.lasts);
    if all.iter().any(|rules| rules.approval) {
        let place = environment.map_or_else(|| "this".to_owned(), |name| format!("`{name}`"));
        match approval {
            None => against.push(format!(
                "{place} needs an approval; put who, ticket and expiry into a file and give it with \
                 --approval FILE"
            )),
            Some(approval) if approval.expires <= now => against.push(format!(
                "the approval of {} ({}) expired at {}",
                approval.by, approval.ticket, approval.expires
            )),
            Some(approval) if approval.expires < until => against.push(format!(
                "the approval of {} ({}) expires at {}, before this ends",
                approval.by, approval.ticket, approval.expires
            )),
            Some(_) => {}
        }
    }
    for rules in &all {
        against.extend(at_this_time(rules, now, until));
    }
    for rules in &all {
        for reason in too_much(&rules.limits, extent) {
            if !against.contains(&reason) {
                against.push(reason);
            }
        }
    }
    if against.is_empty() {
        let approval = approval.cloned();
        Ok(Clearance { environment: environment.cloned(), approval, extent: extent.clone() })
    } else {
        Err(against)
    }
}

/// The flows that no fault may touch, by the rules that hold.
pub fn protected(asked: &Asked<'_>) -> Vec<Rule> {
    let Asked { environment, own, policies, .. } = *asked;
    let hosts = policies.iter().find_map(|policy| policy.environment.as_ref());
    let environment = hosts.or(environment);
    let rules = policies.iter().flat_map(|policy| policy.rules_for(environment)).chain(own);
    rules.flat_map(|rules| &rules.protect).flat_map(Protect::rules).cloned().collect()
}

fn end(now: Timestamp, lasts: Span) -> Timestamp {
    now.checked_add(lasts.duration()).unwrap_or(Timestamp::MAX)
}

fn at_this_time(rules: &Rules, now: Timestamp, until: Timestamp) -> Vec<String> {
    let zone = rules.zone.clone().unwrap_or(TimeZone::UTC);
    let shown = now.to_zoned(zone.clone()).strftime("%a %F %H:%M %Z").to_string();
    let mut against = Vec::new();
    if !rules.hours.is_empty() && !covered(&rules.hours, now, until, &zone) {
        let hours: Vec<String> = rules.hours.iter().map(ToString::to_string).collect();
        against.push(format!(
            "it is {shown}, and this has to run from its beginning to its end within {}",
            hours.join(" or ")
        ));
    }
    for blackout in rules.blackouts.iter().filter(|one| one.touches(now, until, &zone)) {
        against.push(format!("it is {shown}, and nothing may be done {blackout}"));
    }
    against
}

fn too_much(limits: &Limits, extent: &Extent) -> Vec<String> {
    let Limits { duration, loss, delay, flows, hosts, instances } = *limits;
    let mut against = Vec::new();
    for one in &extent.faults {
        let FaultExtent { fault, .. } = one;
        let mut over = |what: &str, has: String, most: String| {
            against
                .push(format!("the fault `{fault}` {what} {has}, and at most {most} is allowed"));
        };
        if let Some(most) = duration.filter(|most| one.duration > *most) {
            over("lasts", one.duration.to_string(), most.to_string());
        }
        if let Some(most) = loss.filter(|most| one.loss > *most) {
            over(
                "loses, refuses, damages or multiplies packets, up to",
                one.loss.to_string(),
                most.to_string(),
            );
        }
        if let Some(most) = delay.filter(|most| one.delay > *most) {
            over("holds packets up for", one.delay.to_string(), most.to_string());
        }
        if let Some(most) = flows.filter(|most| one.flows > *most) {
            over("is about a share of flows of", one.flows.to_string(), most.to_string());
        }
    }
    for (what, has, most) in [
        ("hosts", extent.hosts().len(), hosts),
        ("processes, units or containers", extent.instances().len(), instances),
    ] {
        if let Some(most) = most.filter(|most| has > *most as usize) {
            against
                .push(format!("{what} that would be hit: {has}, and at most {most} are allowed"));
        }
    }
    against
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::experiment::units::Percent;

    const POLICY: &str = "
environments:
  production:
    zone: Europe/Berlin
    hours: [mon-thu 09:00-16:00]
    blackouts: ['2026-11-26', 'wed 15:00-24:00']
    limits: { duration: 5m, loss: 20%, delay: 500ms, flows: 10%, hosts: 1, instances: 0 }
";

    struct Case {
        policy: String,
        environment: Option<&'static str>,
        fault: FaultExtent,
        approval: Option<&'static str>,
        now: &'static str,
    }

    fn decide_case(case: &Case) -> Result<Clearance, String> {
        let policy = Policy::parse(&case.policy, Path::new("p")).unwrap();
        let environment = case.environment.map(|name| name.parse::<Environment>().unwrap());
        let approval = case.approval.map(|expires| Approval {
            by: "Ada".into(),
            ticket: "OPS-7".into(),
            expires: expires.parse().unwrap(),
        });
        let extent = Extent::of_fault(case.fault.clone());
        let asked = Asked {
            environment: environment.as_ref(),
            own: None,
            policies: &[policy],
            extent: &extent,
            approval: approval.as_ref(),
            now: case.now.parse().unwrap(),
        };
        decide(&asked).map_err(|against| against.join("\n"))
    }

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    fn fine() -> Case {
        Case {
            policy: POLICY.into(),
            environment: Some("production"),
            fault: FaultExtent {
                fault: "it".into(),
                duration: Span::from_secs(300),
                loss: percent("20%"),
                delay: Span::from_ms(500),
                flows: percent("10%"),
                hosts: ["a".to_owned()].into(),
                instances: std::collections::BTreeSet::new(),
            },
            // Tuesday, noon in Berlin.
            approval: Some("2026-11-24T12:00Z"),
            now: "2026-11-24T11:00Z",
        }
    }

    #[test]
    fn what_keeps_to_the_rules_is_cleared() {
        let clearance = decide_case(&fine()).unwrap();
        assert_eq!(clearance.approval.unwrap().ticket, "OPS-7");
        assert_eq!(clearance.environment.unwrap().name(), "production");
    }

    #[test]
    fn production_needs_an_approval_that_lasts_even_without_a_policy() {
        let refused = |approval, policy: &str| {
            decide_case(&Case { approval, policy: policy.into(), ..fine() }).unwrap_err()
        };
        insta::assert_snapshot!(refused(None, "{}"), @"`production` needs an approval; put who, ticket and expiry into a file and give it with --approval FILE");
        insta::assert_snapshot!(refused(Some("2026-11-24T11:00Z"), "{}"), @"the approval of Ada (OPS-7) expired at 2026-11-24T11:00:00Z");
        insta::assert_snapshot!(refused(Some("2026-11-24T11:04:59Z"), "{}"), @"the approval of Ada (OPS-7) expires at 2026-11-24T11:04:59Z, before this ends");
        decide_case(&Case { approval: Some("2026-11-24T11:05Z"), policy: "{}".into(), ..fine() })
            .unwrap();
        // Elsewhere only if somebody says so.
        let staging = |policy: &str| Case {
            environment: Some("staging"),
            approval: None,
            policy: policy.into(),
            ..fine()
        };
        decide_case(&staging("{}")).unwrap();
        assert!(decide_case(&staging("always: { approval: required }")).is_err());
        // A host that is production stays it, whatever an experiment calls itself.
        let host = "environment: production";
        insta::assert_snapshot!(decide_case(&staging(host)).unwrap_err(), @"
        this host is `production` by its policy, and this is for `staging`; run it where it belongs, or make it one for `production`
        `production` needs an approval; put who, ticket and expiry into a file and give it with --approval FILE
        ");
        let unsaid = Case { environment: None, ..staging(host) };
        assert!(decide_case(&unsaid).unwrap_err().contains("needs an approval"));
    }

    #[test]
    fn hours_and_blackouts_hold_from_beginning_to_end() {
        let approval = Some("2027-01-01T00:00Z");
        let at = |now| decide_case(&Case { approval, now, ..fine() });
        at("2026-11-24T08:00Z").unwrap();
        at("2026-11-24T14:54:59Z").unwrap();
        insta::assert_snapshot!(at("2026-11-24T07:59:59Z").unwrap_err(), @"it is Tue 2026-11-24 08:59 CET, and this has to run from its beginning to its end within mon,tue,wed,thu 09:00-16:00");
        // It would end after the hours do.
        assert!(at("2026-11-24T14:55Z").is_err());
        insta::assert_snapshot!(at("2026-11-27T12:00Z").unwrap_err(), @"it is Fri 2026-11-27 13:00 CET, and this has to run from its beginning to its end within mon,tue,wed,thu 09:00-16:00");
        insta::assert_snapshot!(at("2026-11-26T12:00Z").unwrap_err(), @"it is Thu 2026-11-26 13:00 CET, and nothing may be done 2026-11-26T00:00:00 until 2026-11-27T00:00:00");
        insta::assert_snapshot!(at("2026-11-25T13:56Z").unwrap_err(), @"it is Wed 2026-11-25 14:56 CET, and nothing may be done wed 15:00-24:00");
        at("2026-11-25T13:54Z").unwrap();
    }

    #[test]
    fn too_much_is_refused_with_everything_that_is_too_much() {
        let mut case = fine();
        case.fault.duration = Span::from_secs(301);
        case.fault.loss = percent("21%");
        case.fault.delay = Span::from_ms(501);
        case.fault.flows = Percent::ALL;
        case.fault.hosts.insert("b".into());
        case.fault.instances.insert("a/server".into());
        insta::assert_snapshot!(decide_case(&case).unwrap_err(), @"
        the fault `it` lasts 301s, and at most 5m is allowed
        the fault `it` loses, refuses, damages or multiplies packets, up to 21%, and at most 20% is allowed
        the fault `it` holds packets up for 501ms, and at most 500ms is allowed
        the fault `it` is about a share of flows of 100%, and at most 10% is allowed
        hosts that would be hit: 2, and at most 1 are allowed
        processes, units or containers that would be hit: 1, and at most 0 are allowed
        ");
    }
}
