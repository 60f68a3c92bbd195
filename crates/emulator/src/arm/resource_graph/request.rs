//! The body of a query, and the subscriptions in its scope.

use serde_json::Value;
use uuid::Uuid;

use super::refusals::refused;
use crate::{
    answer::ArmError,
    arm::{Call, refusals},
    switches::Switch,
};

const MOST_SUBSCRIPTIONS: usize = 1000;
const MOST_ROWS: usize = 1000;
/// The scope of a query.
const MOST_IN_SCOPE: usize = 10_000;
const FILTERS: [&str; 4] = [
    "AtScopeAndBelow",
    "AtScopeAndAbove",
    "AtScopeExact",
    "AtScopeAboveAndBelow",
];

/// The body of a query.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) query: String,
    /// In lower case and sorted; empty if not given.
    subscriptions: Vec<String>,
    management_groups: Vec<String>,
    filter: String,
    allow_partial: bool,
    pub(super) top: usize,
    pub(super) skip: usize,
    pub(super) token: Option<String>,
    pub(super) table: bool,
}

impl Request {
    pub(super) fn parse(body: &Value) -> Result<Self, ArmError> {
        let query = body.get("query").and_then(Value::as_str).unwrap_or_default();
        if query.trim().is_empty() {
            return Err(refused("InvalidQuery", "The query is missing."));
        }
        let facets = body.get("facets").and_then(Value::as_array);
        if facets.is_some_and(|facets| !facets.is_empty()) {
            return Err(refused("InvalidFacets", "Facets are not supported here."));
        }
        let mut subscriptions = names(body, "subscriptions")?;
        let mut management_groups = names(body, "managementGroups")?;
        if !subscriptions.is_empty() && !management_groups.is_empty() {
            let text = "Give either subscriptions or managementGroups.";
            return Err(refused("InvalidScope", text));
        }
        if subscriptions.len() > MOST_SUBSCRIPTIONS {
            let text = format!("The query names more than {MOST_SUBSCRIPTIONS} subscriptions.");
            return Err(refused("TooManySubscriptions", &text));
        }
        if let Some(wrong) = subscriptions
            .iter()
            .find(|id| id.len() != 36 || Uuid::parse_str(id).is_err())
        {
            let text = format!("'{wrong}' is no subscription id.");
            return Err(refused("InvalidSubscriptionId", &text));
        }
        for list in [&mut subscriptions, &mut management_groups] {
            list.sort_unstable();
            list.dedup();
        }
        let options = body.get("options").unwrap_or(&Value::Null);
        let choice = |name: &str, known: &[&str]| {
            let given = match options.get(name) {
                None | Some(Value::Null) => known.first().copied().unwrap_or_default(),
                Some(given) => given.as_str().unwrap_or("?"),
            };
            let found = known.iter().find(|word| word.eq_ignore_ascii_case(given));
            found
                .map(|word| (*word).to_owned())
                .ok_or_else(|| wrong_option(name))
        };
        Ok(Self {
            query: query.into(),
            subscriptions,
            management_groups,
            filter: choice("authorizationScopeFilter", &FILTERS)?,
            table: choice("resultFormat", &["objectArray", "table"])? == "table",
            allow_partial: match options.get("allowPartialScopes") {
                None | Some(Value::Null) => false,
                Some(given) => given
                    .as_bool()
                    .ok_or_else(|| wrong_option("allowPartialScopes"))?,
            },
            top: number(options, "$top", 1, MOST_ROWS)?.unwrap_or(100),
            skip: number(options, "$skip", 0, usize::MAX)?.unwrap_or_default(),
            token: match options.get("$skipToken") {
                None | Some(Value::Null) => None,
                Some(Value::String(token)) => Some(token.clone()).filter(|token| !token.is_empty()),
                Some(_) => return Err(wrong_option("$skipToken")),
            },
        })
    }

    /// The scope as a comparable value.
    pub(super) fn scope_text(&self) -> String {
        format!(
            "{} {} {}",
            self.subscriptions.join(","),
            self.management_groups.join(","),
            self.filter
        )
    }

    /// The subscriptions in scope, and whether there are more.
    pub(super) fn scope(&self, call: &Call<'_>) -> Result<(Vec<String>, bool), ArmError> {
        let visible = |id: &str| call.sees(id);
        if !self.subscriptions.is_empty() {
            if call.world.switches.flipped(Switch::GraphInvisibleSubscriptions)
                && let Some(id) = self.subscriptions.iter().find(|id| !visible(id))
            {
                return Err(invisible(call, id));
            }
            let seen: Vec<String> = self
                .subscriptions
                .iter()
                .filter(|id| visible(id))
                .cloned()
                .collect();
            return some(seen).map(|seen| (seen, false));
        }
        let all = if self.management_groups.is_empty() {
            call.world.subscriptions.keys().cloned().collect()
        } else {
            self.grouped(call)?
        };
        let mut seen: Vec<String> = all.into_iter().filter(|id| visible(id)).collect();
        let more = seen.len() > MOST_IN_SCOPE;
        if more && !self.allow_partial {
            let text =
                format!("The scope has more than {MOST_IN_SCOPE} subscriptions; see allowPartialScopes.");
            return Err(refused("TooManySubscriptionsUnderScope", &text));
        }
        seen.truncate(MOST_IN_SCOPE);
        some(seen).map(|seen| (seen, more))
    }

    /// The subscriptions of the management groups.
    fn grouped(&self, call: &Call<'_>) -> Result<Vec<String>, ArmError> {
        let mut all = Vec::new();
        for name in &self.management_groups {
            match call.world.management_group(name) {
                Some((_, members)) => all.extend(members.iter().cloned()),
                None if call.world.switches.flipped(Switch::GraphInvisibleSubscriptions) => {
                    let text = format!("The management group '{name}' could not be found.");
                    return Err(refused("InvalidManagementGroup", &text));
                }
                None => {}
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}

fn some(seen: Vec<String>) -> Result<Vec<String>, ArmError> {
    if seen.is_empty() {
        let text = "There must be at least one subscription that is eligible to contain resources.";
        return Err(refused("NoValidSubscriptionsInQueryRequest", text));
    }
    Ok(seen)
}

fn invisible(call: &Call<'_>, id: &str) -> ArmError {
    if call.world.subscriptions.contains_key(id) {
        let caller = call.caller;
        let (action, scope) = (
            "Microsoft.Resources/subscriptions/read",
            format!("/subscriptions/{id}"),
        );
        refusals::authorization_failed(&caller.client_id, &caller.object_id, action, &scope)
    } else {
        let text = format!("The subscription '{id}' could not be found.");
        refused("InvalidSubscription", &text)
    }
}

fn names(body: &Value, member: &str) -> Result<Vec<String>, ArmError> {
    let wrong = || refused("InvalidScope", &format!("{member}: a list of strings is wanted."));
    match body.get(member) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| item.as_str().map(str::to_lowercase).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn number(options: &Value, name: &str, least: usize, most: usize) -> Result<Option<usize>, ArmError> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => given
            .as_u64()
            .and_then(|given| usize::try_from(given).ok())
            .filter(|given| (least..=most).contains(given))
            .map(Some)
            .ok_or_else(|| wrong_option(name)),
    }
}

fn wrong_option(name: &str) -> ArmError {
    refused(
        "InvalidOptions",
        &format!("The value of the option '{name}' is not valid."),
    )
}
