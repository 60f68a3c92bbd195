//! All connectors that an identity can see, with their accounts and organizations (docs/azure-api.md 7.5).

use std::collections::HashSet;

use serde::Deserialize;
use serverprotection_core::{
    azure_error::AzureError,
    security_connector::account::{ListedConnector, Membership},
};

use super::{
    Scanner,
    pages::{PageError, PageEvent, Pages},
    parsed::Parsed,
    queries,
    rows::{Text, hash},
    scan::Scan,
};
use crate::{arm::Arm, connectors::place::cloud_named};

/// A reconcile waits for the result and runs again later, so there are fewer retries than in a scan.
const TRIES: u32 = 3;

/// A row of the connectors query.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConnectorRow {
    id: Text,
    environment: Text,
    account: Text,
    membership: Text,
    parent: Text,
    management: Text,
}

/// The connectors of some subscriptions, or of all that the identity can see.
pub(super) async fn known(
    scanner: &Scanner,
    arm: &Arm,
    subscriptions: Option<&[String]>,
) -> Result<Vec<ListedConnector>, AzureError> {
    let scan = Scan::unobserved(scanner, arm);
    let Some(subscriptions) = subscriptions else {
        return of_tenant(&scan).await;
    };
    let all: Vec<_> = subscriptions.iter().map(String::as_str).collect();
    of_groups(&scan, &all).await
}

/// Azure reads a limited number of subscriptions and reports if there are more. Then the query names them in groups.
async fn of_tenant(scan: &Scan<'_>) -> Result<Vec<ListedConnector>, AzureError> {
    let (known, some_left_out) = read(scan, None).await?;
    if !some_left_out {
        return Ok(known);
    }
    let all = scan.arm.subscriptions().await?;
    let all: Vec<_> = all.iter().map(|subscription| subscription.id.as_str()).collect();
    of_groups(scan, &all).await
}

async fn of_groups(scan: &Scan<'_>, subscriptions: &[&str]) -> Result<Vec<ListedConnector>, AzureError> {
    let mut known = Vec::new();
    for group in subscriptions.chunks(scan.scanner.settings.group_size.clamp(1, 1000)) {
        known.extend(read(scan, Some(group.to_vec())).await?.0);
    }
    Ok(known)
}

/// All pages of one query, and whether Azure omitted subscriptions.
async fn read(
    scan: &Scan<'_>,
    subscriptions: Option<Vec<&str>>,
) -> Result<(Vec<ListedConnector>, bool), AzureError> {
    let operation = queries::CONNECTORS_OPERATION;
    let mut pages = Pages::with_tries(operation, queries::CONNECTORS, subscriptions, TRIES);
    let (mut known, mut seen, mut nameless) = (Vec::new(), HashSet::new(), 0_u64);
    loop {
        match pages
            .next::<Parsed<ConnectorRow>>(scan)
            .await
            .map_err(PageError::failure)?
        {
            PageEvent::Restart => nameless = 0,
            PageEvent::Page(rows, last) => {
                for Parsed { row, odd } in rows {
                    // A connector without an id is unusable. Azure refuses a second connector of its account.
                    if row.id.0.is_empty() {
                        nameless = nameless.saturating_add(1);
                    } else if seen.insert(hash(&row.id.0, "")) {
                        if odd.is_some() {
                            tracing::warn!(
                                resource_id = row.id.0,
                                "row of a connector could not be parsed completely"
                            );
                        }
                        known.push(ListedConnector::from(row));
                    }
                }
                if last {
                    let distinct = u64::try_from(known.len()).unwrap_or(u64::MAX);
                    pages.complete(distinct.saturating_add(nameless))?;
                    return Ok((known, pages.some_left_out));
                }
            }
        }
    }
}

impl From<ConnectorRow> for ListedConnector {
    fn from(row: ConnectorRow) -> Self {
        let non_empty = |text: Text| Some(text.0).filter(|text| !text.is_empty());
        Self {
            cloud: cloud_named(&row.environment.0),
            membership: match row.membership.0.to_ascii_lowercase().as_str() {
                "organization" => Membership::Organization,
                "member" => Membership::Member {
                    parent: non_empty(row.parent),
                    management: non_empty(row.management),
                },
                _ => Membership::Single,
            },
            id: row.id.0,
            account: row.account.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use serverprotection_api::Cloud;

    use super::*;

    #[test]
    fn rows_carry_cloud_account_and_organization() {
        let known = |text: &str| ListedConnector::from(serde_json::from_str::<ConnectorRow>(text).unwrap());
        let single =
            known(r#"{"id": "/S/a", "environment": "aws", "account": 123456789012, "membership": ""}"#);
        assert_eq!(
            single,
            ListedConnector {
                id: "/S/a".into(),
                cloud: Some(Cloud::AWS),
                account: "123456789012".into(),
                membership: Membership::Single,
            }
        );
        let membership = |text: &str| known(text).membership;
        assert_eq!(
            membership(r#"{"membership": "ORGANIZATION", "parent": null}"#),
            Membership::Organization
        );
        for (parent, management) in [(Some("1"), None), (Some("1"), Some("2")), (None, None)] {
            let text =
                serde_json::json!({ "membership": "Member", "parent": parent, "management": management });
            let expected = Membership::Member {
                parent: parent.map(str::to_owned),
                management: management.map(str::to_owned),
            };
            assert_eq!(membership(&text.to_string()), expected);
        }
        let other = known(r#"{"environment": "AzureDevOps", "membership": null}"#);
        assert_eq!((other.cloud, other.membership), (None, Membership::Single));
    }
}
