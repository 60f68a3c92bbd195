//! The management groups above subscriptions (docs/azure-api.md 7.6).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serverprotection_core::azure_error::AzureError;

use super::{
    Scanner,
    pages::{PageEvent, Pages},
    parsed::Parsed,
    queries,
    rows::Text,
    scan::Scan,
};
use crate::arm::Arm;

/// A reconcile waits for the result and runs again later, so there are fewer retries than in a scan.
const TRIES: u32 = 3;

/// A row of the query.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SubscriptionRow {
    #[serde(rename = "subscriptionId")]
    id: Text,
    groups: Value,
}

/// Subscriptions in one query. They are a filter and not its scope: Azure refuses a query whose scope contains a
/// subscription that the identity cannot see, and anybody can name one.
const AT_ONCE: usize = 200;

/// The code of an error that says that the identity can see no subscription at all.
const NOTHING_VISIBLE: &str = "NoValidSubscriptionsInQueryRequest";

/// The answer for each subscription that the identity can see.
type Found = HashMap<String, Option<Vec<String>>>;

/// The ids of the management groups above each subscription that the identity can see; `None` for a subscription whose
/// row does not contain them, or that Azure may have left out.
pub(super) async fn of(scanner: &Scanner, arm: &Arm, subscriptions: &[String]) -> Result<Found, AzureError> {
    let scan = Scan::unobserved(scanner, arm);
    let all: Vec<_> = subscriptions.iter().filter(|id| is_id(id)).collect();
    let mut found = Found::new();
    for group in all.chunks(AT_ONCE) {
        let quoted: Vec<_> = group.iter().map(|id| format!("'{id}'")).collect();
        let (read, some_left_out) = read(&scan, &queries::ancestors(&quoted.join(", "))).await?;
        if some_left_out {
            found.extend(group.iter().map(|id| (id.to_ascii_lowercase(), None)));
        }
        found.extend(read);
    }
    Ok(found)
}

/// The id becomes a part of a query. No subscription has another one.
fn is_id(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// All pages of one query, and whether Azure omitted subscriptions.
async fn read(scan: &Scan<'_>, text: &str) -> Result<(Found, bool), AzureError> {
    let mut pages = Pages::with_tries(queries::ANCESTORS_OPERATION, text, None, TRIES);
    let mut found = Found::new();
    loop {
        let page = match pages.next::<Parsed<SubscriptionRow>>(scan).await {
            Ok(page) => page,
            Err(failure) => match failure.failure() {
                failure if failure.code == NOTHING_VISIBLE => return Ok((Found::new(), false)),
                failure => return Err(failure),
            },
        };
        match page {
            PageEvent::Restart => {}
            PageEvent::Page(rows, last) => {
                for Parsed { row, .. } in rows {
                    let groups = names(&row.groups);
                    if groups.is_none() {
                        tracing::warn!(
                            subscription_id = row.id.0,
                            "row of a subscription has no readable management groups"
                        );
                    }
                    found.insert(row.id.0.to_ascii_lowercase(), groups);
                }
                if last {
                    pages.complete(u64::try_from(found.len()).unwrap_or(u64::MAX))?;
                    return Ok((found, pages.some_left_out));
                }
            }
        }
    }
}

/// The ids in a chain, which begins with the parent. Nothing is known if one of them cannot be read.
fn names(chain: &Value) -> Option<Vec<String>> {
    let name = |group: &Value| {
        let name = group.get("name")?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    chain.as_array()?.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_ids_become_a_part_of_a_query() {
        assert!(is_id("00000000-0000-4000-8000-00000000ABCD"));
        for odd in [
            "",
            "*",
            "00000000-0000-4000-8000-00000000abc'",
            "0000000000000000000000000000",
        ] {
            assert!(!is_id(odd), "{odd}");
        }
    }

    #[test]
    fn a_chain_is_read_as_a_whole_or_not_at_all() {
        let chain = json!([{"displayName": "Corp", "name": "corp"}, {"displayName": "Tenant Root Group", "name": "T"}]);
        assert_eq!(names(&chain).unwrap(), ["corp", "T"]);
        assert_eq!(names(&json!([])).unwrap(), [""; 0]);
        for odd in [
            Value::Null,
            json!("corp"),
            json!({"name": "corp"}),
            json!([{"name": "corp"}, {"displayName": "x"}]),
            json!([{"name": ""}]),
            json!([{"name": 7}]),
            json!(["corp"]),
        ] {
            assert_eq!(names(&odd), None, "{odd}");
        }
    }
}
