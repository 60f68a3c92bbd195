//! Verdicts and reasons of machines as docs/azure-api.md 6 and 7 describe them.

use std::collections::BTreeMap;

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::machines::{ArcAgent, Architecture, Image, Kind, Listing, MdeExtension, Service};

mod transitions;
mod verdicts;

const NOW: &str = "2026-11-23T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours_ago(hours: i64) -> Option<Timestamp> {
    at(NOW).checked_sub(SignedDuration::from_hours(hours)).ok()
}

#[allow(clippy::unnecessary_wraps, reason = "as the field wants it")]
fn image(publisher: &str, offer: &str, sku: &str) -> Option<Image> {
    Some(Image {
        publisher: publisher.into(),
        offer: offer.into(),
        sku: sku.into(),
    })
}

fn extension(type_: &str, state: &str) -> MdeExtension {
    MdeExtension {
        name: "AzureDefenderForServers".into(),
        type_: type_.into(),
        state: state.into(),
        ..MdeExtension::default()
    }
}

/// A running Ubuntu in Azure, a month old, with a healthy extension.
fn linux() -> Machine {
    Machine {
        id: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/web".into(),
        name: "web".into(),
        instances: 1,
        os_type: "Linux".into(),
        image: image("canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2"),
        power: "PowerState/running".into(),
        created: hours_ago(720),
        extensions: vec![extension("MDE.Linux", "Succeeded")],
        ..Machine::default()
    }
}

/// A connected Windows Server 2022 on premises, with a healthy extension.
fn arc() -> Machine {
    Machine {
        kind: Kind::ArcMachine,
        os_type: "windows".into(),
        os_sku: "Windows Server 2022 Datacenter".into(),
        image: None,
        power: String::new(),
        created: None,
        arc: Some(ArcAgent {
            status: "Connected".into(),
            agent_version: "1.64".into(),
            last_status_change: hours_ago(720),
            extensions_enabled: "true".into(),
            ..ArcAgent::default()
        }),
        extensions: vec![MdeExtension {
            code: "0".into(),
            level: "Information".into(),
            ..extension("MDE.Windows", "Succeeded")
        }],
        ..linux()
    }
}

fn with(mut machine: Machine, change: impl FnOnce(&mut Machine)) -> Machine {
    change(&mut machine);
    machine
}

fn agent(change: impl FnOnce(&mut ArcAgent)) -> Machine {
    with(arc(), |machine| change(machine.arc.as_mut().unwrap()))
}

fn bare(machine: Machine) -> Machine {
    with(machine, |machine| machine.extensions.clear())
}

fn failed(code: &str, message: &str) -> Machine {
    with(linux(), |machine| {
        machine.extensions = vec![MdeExtension {
            code: code.into(),
            level: "Error".into(),
            message: message.into(),
            at: hours_ago(5),
            ..extension("MDE.Linux", "Failed")
        }];
    })
}

fn find(machine: &Machine) -> Finding {
    find_with(machine, &Exclusions::default(), |_| {})
}

fn find_with<'a>(
    machine: &Machine,
    exclusions: &'a Exclusions,
    change: impl FnOnce(&mut RuleContext<'a>),
) -> Finding {
    let mut rule_context = RuleContext {
        now: at(NOW),
        grace: SignedDuration::from_hours(24),
        plan_enabled_since: hours_ago(1000),
        exclusions,
        plan_off: None,
        plan_unreadable: false,
        health: None,
        transition_seen: None,
        health_unreadable: false,
    };
    change(&mut rule_context);
    finding(machine, &rule_context)
}

#[test]
fn the_rule_context_decides_too() {
    let none = Exclusions::default();
    let off = |machine: &Machine, plan| {
        let found = find_with(machine, &none, |it| it.plan_off = Some(plan));
        (found.verdict, found.reason.into_owned())
    };
    let free = |reason: &str| (Verdict::PlanOff, reason.to_owned());
    assert_eq!(off(&linux(), PlanOff::OfMachine), free("MachinePlanFree"));
    // Neither an extension nor its absence changes that the plan must be switched on first.
    for machine in [linux(), bare(linux()), failed("24", ""), arc()] {
        assert_eq!(
            off(&machine, PlanOff::OfSubscription),
            free("SubscriptionPlanFree")
        );
    }
    let of_connector = with(arc(), |machine| machine.by_connector = true);
    assert_eq!(
        off(&of_connector, PlanOff::OfSubscription).0,
        Verdict::Protected,
        "it has the plan of its connector"
    );
    let issue = HealthIssue {
        status: "NotHealthy".into(),
        issue: "Sensor is silent".into(),
        remedy: String::new(),
    };
    let silent = find_with(&linux(), &none, |it| it.health = Some(&issue));
    assert_eq!(
        (silent.verdict, &*silent.reason),
        (Verdict::Failed, "SensorUnhealthy")
    );
    assert!(silent.message.contains("Sensor is silent"));
    // A health report changes a Protected machine only.
    let missing = find_with(&bare(linux()), &none, |it| it.health = Some(&issue));
    assert_eq!(missing.verdict, Verdict::Missing);
    let fresh_plan = find_with(&bare(linux()), &Exclusions::default(), |it| {
        it.plan_enabled_since = hours_ago(2);
    });
    assert_eq!(fresh_plan.verdict, Verdict::Provisioning);
    assert_eq!(fresh_plan.until, hours_ago(-22));
    let mut exclusions = Exclusions::default();
    exclusions.rule("lab", BTreeMap::from([("env".to_owned(), None)]), &[], &[]);
    let lab = with(failed("4", ""), |machine| {
        machine.tags.insert("env".into(), "lab".into());
    });
    let excluded = find_with(&lab, &exclusions, |_| {});
    assert_eq!(
        (excluded.verdict, excluded.exclusion),
        (Verdict::Excluded, Some(0))
    );
}

#[test]
fn the_start_time_is_reported_where_azure_reports_it() {
    assert_eq!(find(&failed("4", "")).since, hours_ago(5));
    assert_eq!(
        find(&agent(|a| a.status = "Expired".into())).since,
        hours_ago(720)
    );
    assert_eq!(find(&bare(linux())).since, hours_ago(720 - 24));
    assert_eq!(find(&linux()).since, None);
}

#[test]
fn texts_of_rules_are_sentences_and_no_rule_is_listed_twice() {
    let all: Vec<_> = RULES.iter().map(|rule| (rule.verdict, rule.reason)).collect();
    for (index, rule) in RULES.iter().enumerate() {
        assert!(
            !all[..index].contains(&all[index]),
            "{:?} is listed twice",
            all[index]
        );
        for text in [rule.when, rule.remedy]
            .into_iter()
            .filter(|text| !text.is_empty())
        {
            assert!(
                text.starts_with(char::is_uppercase) && text.ends_with('.'),
                "not a sentence: {text}"
            );
        }
    }
}

#[test]
fn a_row_that_cannot_be_read_or_is_missing_proves_nothing() {
    let unknown = |machine: &Machine, reason: &str| {
        let found = find(machine);
        assert_eq!(
            (found.verdict, found.reason.as_ref()),
            (Verdict::Unknown, reason),
            "{machine:?}"
        );
        assert!(!found.message.is_empty() && !found.remedy.is_empty());
    };
    for (listing, reason) in [
        (Listing::Unreadable, "RowUnreadable"),
        (Listing::NotListed, "NotListed"),
    ] {
        for machine in [linux(), bare(linux()), arc(), failed("24", "")] {
            unknown(&with(machine, |machine| machine.listing = listing), reason);
        }
        unknown(
            &with(Machine::default(), |machine| machine.listing = listing),
            reason,
        );
        // A machine can be excluded by its id alone.
        let machine = with(linux(), |machine| machine.listing = listing);
        let mut exclusions = Exclusions::default();
        exclusions.rule("lab", [], &[], std::slice::from_ref(&machine.id));
        assert_eq!(
            find_with(&machine, &exclusions, |_| {}).verdict,
            Verdict::Excluded
        );
        // One such row of two is enough.
        let mut merged = linux();
        merged.merge(machine);
        assert_eq!(merged.listing, listing);
    }
}

#[test]
fn a_machine_with_unreadable_related_data_is_not_protected() {
    let none = Exclusions::default();
    let reason = |machine: &Machine, plan: bool, health: bool| {
        let found = find_with(machine, &none, |it| {
            (it.plan_unreadable, it.health_unreadable) = (plan, health);
        });
        (found.verdict, found.reason.into_owned())
    };
    assert_eq!(
        reason(&linux(), true, true),
        (Verdict::Unknown, "PlanUnreadable".into())
    );
    assert_eq!(
        reason(&linux(), false, true),
        (Verdict::Unknown, "HealthReportUnreadable".into())
    );
    // A worse verdict wins.
    assert_eq!(reason(&bare(linux()), true, true).0, Verdict::Missing);
    assert_eq!(reason(&failed("24", ""), true, true).0, Verdict::Failed);
}
