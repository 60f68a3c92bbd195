//! Accounts with and without connectors, as text and as JSON.

use serde_json::{Value, json};
use serverprotection_api::Cloud;
use serverprotection_azure::fleet::Access;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    machines::{Environment, Tally, Verdict},
};

use super::{
    super::totals::{Outcome, Subscription},
    *,
};

fn known(cloud: Option<Cloud>, account: &str, name: &str, membership: Membership) -> ListedConnector {
    ListedConnector {
        id: format!(
            "/subscriptions/s/resourcegroups/rg/providers/Microsoft.Security/securityConnectors/{name}"
        ),
        cloud,
        account: account.into(),
        membership,
    }
}

/// A subscription with machines of accounts: protected and failed ones.
fn subscription(accounts: &[(Environment, &str, u64, u64)], of_no_one: u64) -> Subscription {
    let (mut tally, mut counts) = (Tally::default(), BTreeMap::new());
    tally.add(Environment::Aws, Verdict::Protected, of_no_one);
    for (environment, id, protected, failed) in accounts {
        let account = Account {
            environment: *environment,
            id: (*id).into(),
        };
        let counts: &mut MachineCounts = counts.entry(account).or_default();
        for (verdict, machines) in [(Verdict::Protected, *protected), (Verdict::Failed, *failed)] {
            tally.add(*environment, verdict, machines);
            counts.add(verdict, machines);
        }
    }
    Subscription {
        name: String::new(),
        minimum: 100,
        outcome: Outcome::Read {
            tally: tally.into(),
            accounts: counts,
            access: Access::Sufficient,
            tier: None,
        },
    }
}

fn totals() -> Totals {
    let mut totals = Totals {
        subscriptions: [
            (
                "a".to_owned(),
                subscription(&[(Environment::Aws, "1", 2, 1), (Environment::Gcp, "1", 7, 0)], 4),
            ),
            (
                "b".to_owned(),
                subscription(&[(Environment::Aws, "1", 3, 0), (Environment::Aws, "3", 0, 5)], 0),
            ),
        ]
        .into(),
        ..Totals::default()
    };
    let member = Membership::Member {
        parent: Some("1".into()),
        management: None,
    };
    totals.connectors.add(Ok(vec![
        known(Some(Cloud::AWS), "1", "aws-prod", Membership::Organization),
        known(Some(Cloud::AWS), "2", "aws-prod_2", member),
        known(Some(Cloud::GCP), "843", "gcp", Membership::Single),
        known(None, "contoso", "github", Membership::Single),
    ]));
    totals
}

fn failure() -> AzureError {
    AzureError {
        class: ErrorClass::Refused,
        code: "BadRequest".into(),
        message: "no".into(),
        operation: "POST resources (connectors)".into(),
        request_id: Some("1".into()),
        effect_unknown: false,
    }
}

/// The words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .collect()
        })
        .collect()
}

#[test]
fn accounts_are_listed_with_their_connectors_even_without_machines() {
    let text = text(&totals(), Format::Table);
    let expected: [&[&str]; 8] = [
        &[],
        &["Accounts of AWS and GCP:"],
        &[
            "ENVIRONMENT",
            "ACCOUNT",
            "CONNECTOR",
            "ORGANIZATION",
            "MACHINES",
            "PROTECTED",
        ],
        &["AWS", "1", "aws-prod", "management", "6", "5/6"],
        &["AWS", "2", "aws-prod_2", "member of 1", "0", "0/0"],
        &["AWS", "3", "no connector visible", "-", "5", "0/5"],
        // The same number in another cloud is another account.
        &["GCP", "1", "no connector visible", "-", "7", "7/7"],
        &["GCP", "843", "gcp", "-", "0", "0/0"],
    ];
    let lines = words(&text);
    assert_eq!(lines[..8], expected, "{text}");
    assert!(
        lines[8][0].starts_with("Further machines of AWS and GCP") && lines[8][0].ends_with(": 4"),
        "{text}"
    );
    assert_eq!(lines.len(), 9);
}

#[test]
fn wide_output_has_the_connectors_ids() {
    let text = text(&totals(), Format::Wide);
    let lines = words(&text);
    assert_eq!(lines[2][6], "CONNECTOR-ID");
    assert!(lines[3][6].ends_with("/securityConnectors/aws-prod"), "{text}");
    assert_eq!(lines[5][6], "-");
}

#[test]
fn without_accounts_nothing_is_printed() {
    let mut totals = Totals::default();
    assert_eq!(text(&totals, Format::Table), "");
    totals
        .connectors
        .add(Ok(vec![known(None, "contoso", "github", Membership::Single)]));
    totals.subscriptions.insert("a".into(), subscription(&[], 3));
    assert_eq!(text(&totals, Format::Table), "");
}

#[test]
fn equal_failures_are_printed_once_and_connectors_are_unknown() {
    let mut totals = totals();
    totals.connectors.add(Err(failure()));
    totals.connectors.add(Err(AzureError {
        request_id: Some("2".into()),
        ..failure()
    }));
    let text = text(&totals, Format::Table);
    assert!(
        text.ends_with(
            "\n\nNot all connectors could be listed: Azure refused the request to list the connectors: BadRequest: no\n"
        ),
        "{text}"
    );
    assert_eq!(text.matches("BadRequest").count(), 1);
    assert!(
        text.contains("not known") && !text.contains("no connector visible"),
        "{text}"
    );
    assert!(
        text.contains("aws-prod"),
        "connectors that are known are listed: {text}"
    );
}

#[test]
fn two_connectors_of_one_account_count_its_machines_once() {
    let mut totals = totals();
    totals.connectors.add(Ok(vec![known(
        Some(Cloud::AWS),
        "1",
        "second",
        Membership::Single,
    )]));
    let text = text(&totals, Format::Table);
    assert!(
        words(&text).contains(&vec!["AWS", "1", "aws-prod, second", "management, -", "6", "5/6"]),
        "{text}"
    );
}

#[test]
fn only_the_table_truncates_a_long_list() {
    let mut totals = Totals::default();
    let many =
        (0..MAX_LISTED + 2).map(|at| known(Some(Cloud::AWS), &at.to_string(), "one", Membership::Single));
    totals.connectors.add(Ok(many.collect()));
    let table = text(&totals, Format::Table);
    assert!(
        table.ends_with("  and 2 more (-o wide or -o json lists all)\n"),
        "{table}"
    );
    assert!(!text(&totals, Format::Wide).contains("more"));
    assert_eq!(lines(&totals).len(), MAX_LISTED + 2);
}

#[test]
fn tags_control_no_terminal() {
    let evil = "1\u{1b}[31m";
    let totals = Totals {
        subscriptions: [("a".to_owned(), subscription(&[(Environment::Aws, evil, 1, 0)], 0))].into(),
        ..Totals::default()
    };
    assert!(!text(&totals, Format::Wide).contains('\u{1b}'));
}

#[test]
fn json_has_the_same_numbers() {
    let totals = totals();
    let lines: Value = serde_json::to_value(lines(&totals)).unwrap();
    assert_eq!(
        lines[1],
        json!({"environment": "AWS", "account": "2", "total": 0, "eligible": 0, "protected": 0, "connectors": [{
            "id": "/subscriptions/s/resourcegroups/rg/providers/Microsoft.Security/securityConnectors/aws-prod_2",
            "name": "aws-prod_2", "membership": "Member", "parent": "1"}]})
    );
    assert_eq!(
        lines[2],
        json!({"environment": "AWS", "account": "3", "total": 5, "eligible": 5, "protected": 0, "connectors": []})
    );
    assert_eq!(lines[0]["connectors"][0]["membership"], "Organization");
}
