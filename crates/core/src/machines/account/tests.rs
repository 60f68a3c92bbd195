//! Accounts of machines, and sums over accounts.

use super::*;
use crate::machines::{ArcAgent, Kind};

fn machine(cloud: &str, tags: &[(&str, &str)]) -> Machine {
    Machine {
        kind: Kind::ArcMachine,
        instances: 1,
        cloud: cloud.into(),
        by_connector: true,
        tags: tags
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        arc: Some(ArcAgent {
            agent_version: "1.64".into(),
            ..ArcAgent::default()
        }),
        ..Machine::default()
    }
}

/// The cloud that the agent reports, the tags, and the expected account.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    Option<(Environment, String)>,
);

const BOTH: [(&str, &str); 2] = [("ProjectId", "prod"), ("ProjectNumber", "843")];

fn reported(machine: &Machine) -> Option<(Environment, String)> {
    machine.account().map(|account| (account.environment, account.id))
}

#[test]
fn the_account_is_in_the_tags_of_the_connector() {
    let aws = |id: &str| Some((Environment::Aws, id.to_owned()));
    let gcp = |id: &str| Some((Environment::Gcp, id.to_owned()));
    let cases: [Case; 12] = [
        ("AWS", &[("AccountId", "1")], aws("1")),
        ("aws", &[("ACCOUNTID", " 1 ")], aws("1")),
        ("GCP", &BOTH, gcp("843")),
        (
            "GCP",
            &[("projectId", "prod"), ("projectNumber", "")],
            gcp("prod"),
        ),
        // The agent has not reported its cloud yet, or there is no agent yet.
        ("", &[("cloud", "aws"), ("AccountId", "1")], aws("1")),
        ("", &[("Cloud", "GCP"), ("ProjectNumber", "843")], gcp("843")),
        // The agent wins over a tag.
        ("Azure", &[("Cloud", "AWS"), ("AccountId", "1")], None),
        ("AWS", &[("AccountId", "")], None),
        ("AWS", &BOTH, None),
        ("GCP", &[("AccountId", "1")], None),
        ("", &[("AccountId", "1")], None),
        ("AWS", &[], None),
    ];
    for (cloud, tags, expected) in cases {
        assert_eq!(reported(&machine(cloud, tags)), expected, "{cloud} {tags:?}");
    }
}

#[test]
fn machines_without_a_connector_and_of_the_arc_connector_have_no_account() {
    let ours = machine("AWS", &[("AccountId", "1"), ("Cloud", "AWS")]);
    let without_connector = Machine {
        by_connector: false,
        ..ours.clone()
    };
    assert_eq!(reported(&without_connector), None);
    let unreported = Machine {
        cloud: String::new(),
        ..without_connector
    };
    assert_eq!(
        unreported.environment(),
        Environment::OnPremises,
        "without a connector, a tag proves nothing"
    );
    let azure = Machine {
        kind: Kind::VirtualMachine,
        ..ours.clone()
    };
    assert_eq!(reported(&azure), None);
    // Found by both connectors: the resource with an agent counts, the one without is a shell.
    let both = Machine {
        other_connector: true,
        ..ours
    };
    assert!(reported(&both).is_some());
    let shell = Machine {
        arc: Some(ArcAgent::default()),
        ..both.clone()
    };
    assert_eq!(reported(&shell), None);
    let shell = Machine {
        identity: "none".into(),
        ..both
    };
    assert_eq!(reported(&shell), None);
}

#[test]
fn a_connector_sums_its_own_account_and_its_members_once() {
    let counts = |total, eligible, protected| MachineCounts {
        total,
        eligible,
        protected,
    };
    let account = |environment, id: &str| Account {
        environment,
        id: id.into(),
    };
    let summary = Summary {
        accounts: [
            (account(Environment::Aws, "1"), counts(5, 4, 3)),
            (account(Environment::Aws, "2"), counts(1, 1, 0)),
            (account(Environment::Aws, "3"), counts(9, 9, 9)),
            (account(Environment::Gcp, "1"), counts(7, 7, 7)),
        ]
        .into(),
        ..Summary::default()
    };
    let of = |environment, ids: &[&str]| summary.of_accounts(environment, ids.iter().copied());
    assert_eq!(of(Environment::Aws, &["1"]), counts(5, 4, 3));
    assert_eq!(of(Environment::Aws, &["1", "2", "1", "4"]), counts(6, 5, 3));
    assert_eq!(of(Environment::Gcp, &["1", "2"]), counts(7, 7, 7));
    assert_eq!(of(Environment::Gcp, &[]), MachineCounts::default());
}
