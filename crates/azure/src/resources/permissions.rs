//! The permissions of the identity on a subscription.

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::reading::{Permissions, ReadResult};

use crate::{
    arm::{Arm, Call, Limits},
    body,
    throttled::Budget,
};

const GET: &str = "GET permissions";
/// Each role assignment is an item.
const LIMITS: Limits = Limits {
    pages: 100,
    ..Limits::SHORT
};

impl Arm {
    pub(crate) async fn permissions(&self, subscription: &str) -> ReadResult<Permissions> {
        let grants = self
            .list_within(
                &Call {
                    method: Method::GET,
                    operation: GET,
                    budget: Budget::Subscription(subscription),
                    path: &[
                        "subscriptions",
                        subscription,
                        "providers",
                        "Microsoft.Authorization",
                        "permissions",
                    ],
                    api_version: "2022-04-01",
                    body: None,
                    timeout: None,
                    permit: None,
                },
                LIMITS,
            )
            .await?;
        read(&grants)
    }
}

/// Grants without a list of actions allow nothing. A list that cannot be read is an error, because it may contain
/// exceptions.
pub(crate) fn read(grants: &[Value]) -> ReadResult<Permissions> {
    let texts = |grant: &Value, pointer: &str| {
        let list = body::list(GET, grant, pointer)?.iter();
        let texts: Option<Vec<_>> = list.map(|action| action.as_str().map(str::to_owned)).collect();
        texts
            .ok_or_else(|| body::unreadable(GET, format!("{pointer} contains an item that is not an action")))
    };
    let pair = |grant: &Value| Ok((texts(grant, "/actions")?, texts(grant, "/notActions")?));
    let grants = grants.iter().map(pair).collect::<Result<_, _>>()?;
    Ok(Permissions { grants })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn grants_are_read_with_their_exceptions() {
        let found = read(&[
            json!({"actions": ["*"], "notActions": ["a/write"], "dataActions": [], "notDataActions": []}),
            json!({"actions": ["b/read"], "notActions": null}),
            json!({"dataActions": ["c"]}),
        ]);
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let grants = vec![
            (owned(&["*"]), owned(&["a/write"])),
            (owned(&["b/read"]), vec![]),
            (vec![], vec![]),
        ];
        assert_eq!(found, Ok(Permissions { grants }));
    }

    #[test]
    fn exceptions_that_cannot_be_read_are_an_error() {
        for odd in [json!("a/write"), json!([1]), json!({"0": "a/write"})] {
            let grant = json!({"actions": ["*"], "notActions": odd});
            assert_eq!(read(&[grant]).unwrap_err().code, "UnreadableAnswer");
        }
    }
}
