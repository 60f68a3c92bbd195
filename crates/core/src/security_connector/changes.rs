//! From desired and observed state to changes: the differences by field (`differences`), then Azure's writes
//! (`changes`).

use std::collections::BTreeSet;

use serde_json::Value;
use serverprotection_api::Tier;

use super::{
    desired::{AGENTLESS, Desired, Field, Offering, Place, TIER},
    expected::Expected,
    merge,
    observed::Connector,
};
use crate::{
    change,
    difference::{self, listed},
};

/// One write to Azure, with the fields that it repairs.
pub type Change = change::Change<Action, String>;

/// A field in which Azure differs from the spec.
pub type Difference = difference::Difference<String>;

/// The writes to Azure.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create the resource group.
    CreateResourceGroup {
        /// Its name.
        name: String,
        /// Its region.
        location: String,
    },
    /// PUT the connector with this body, which contains every field.
    PutConnector(Value),
}

/// The field that differs while there is no connector.
pub const CONNECTOR: &str = "connectorName";

/// Every managed field in which Azure differs from the spec, in the order of the spec.
pub fn differences(desired: &Desired, actual: Option<&Connector>) -> Vec<Difference> {
    let Some(connector) = actual else {
        return vec![Difference {
            field: CONNECTOR.into(),
            desired: desired.target.name.clone(),
            observed: "none".into(),
        }];
    };
    let cloud = desired.target.cloud;
    let differs = |field: &Field| {
        let observed = connector.value(&field.place, cloud);
        let (same, reported) = if field.path == TIER {
            tier(field, connector, observed)
        } else {
            (
                field.value.matches(observed),
                field.value.describe_observed(observed),
            )
        };
        (!same).then(|| Difference {
            field: field.path.clone(),
            desired: field.value.describe(),
            observed: reported,
        })
    };
    desired.fields.iter().filter_map(differs).collect()
}

/// The difference in the plan. An offering that is absent counts as Free.
fn tier(field: &Field, connector: &Connector, observed: Option<&Value>) -> (bool, String) {
    let found = connector.tier();
    let free = found == Some(Tier::Free);
    let reported = match observed {
        None if free => "Free".into(),
        None => "unspecified".into(),
        Some(_) => field.value.describe_observed(observed),
    };
    let same = field.value == Expected::Tier(Tier::Free) && free
        || found.is_some_and(|found| field.value == Expected::Tier(found));
    (same, reported)
}

/// The writes that repair every difference except in suppressed (contested) fields.
pub fn changes(desired: &Desired, actual: Option<&Connector>, suppressed: &BTreeSet<String>) -> Vec<Change> {
    let reached = |difference: &Difference| {
        let mut rows = desired.fields.iter();
        let row = rows.find(|field| field.path == difference.field);
        row.is_none_or(|field| reachable(desired, actual, suppressed, field))
    };
    let fields: Vec<_> = differences(desired, actual)
        .into_iter()
        .filter(|difference| !suppressed.contains(&difference.field) && reached(difference))
        .collect();
    if fields.is_empty() {
        return Vec::new();
    }
    let body = merge::body(desired, actual, suppressed);
    vec![Change {
        action: Action::PutConnector(body),
        fields,
    }]
}

/// The tier that a write carries: the observed tier while the tier is suppressed. `None`: the offering has an unknown
/// plan.
pub(super) fn tier_written(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<String>,
) -> Option<Tier> {
    match actual {
        Some(connector) if suppressed.contains(TIER) => connector.tier(),
        _ => Some(desired.tier),
    }
}

/// Whether a write can repair the field while others are suppressed: an absent offering has no members, P1 has no
/// agentless scanning, and a single account has no stack set.
pub(super) fn reachable(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<String>,
    field: &Field,
) -> bool {
    let tier = tier_written(desired, actual, suppressed);
    if matches!(field.place, Place::Offering(Offering::Servers, _)) && tier == Some(Tier::Free) {
        return merge::is_free(field);
    }
    let scans = field.path.starts_with(AGENTLESS) || field.path == "aws.roleArns.agentlessScanner";
    if scans && tier != Some(Tier::P2) && field.value != Expected::Flag(false) {
        return false;
    }
    let member = ["aws.organization", "gcp.organization"]
        .into_iter()
        .find(|parent| field.path.starts_with(&format!("{parent}.")));
    let differs = |parent: &str| {
        let mut rows = desired.fields.iter();
        let row = rows.find(|row| row.path == parent);
        let value = |row: &Field| {
            let cloud = desired.target.cloud;
            actual.is_some_and(|found| row.value.matches(found.value(&row.place, cloud)))
        };
        row.is_some_and(|row| !value(row))
    };
    member.is_none_or(|parent| !suppressed.contains(parent) || !differs(parent))
}

/// Describes a change for users: its fields with both values.
pub fn describe(change: &Change) -> String {
    if let Action::CreateResourceGroup { name, .. } = &change.action {
        return format!("resource group {name}");
    }
    listed(&change.fields)
}
