//! From desired and observed state to changes: the differences by field (`differences`), then Azure's writes
//! (`changes`).

use std::collections::BTreeSet;

use super::{
    arc_providers::ArcProvider,
    desired::{Desired, Row},
    expected::{Expected, ObservedValue},
    field::ConnectorField,
    observed::Connector,
    value::{ConnectorPath, ConnectorValue},
    write::{ConnectorWrite, reachable},
};
use crate::{
    change,
    difference::{self, listed},
};

/// One write to Azure, with the fields that it repairs.
pub type Change = change::Change<Action, ConnectorPath>;

/// A field in which Azure differs from the spec.
pub type Difference = difference::Difference<ConnectorPath>;

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
    /// PUT the connector.
    PutConnector(ConnectorWrite),
    /// Register a resource provider that the Azure Arc agent needs.
    RegisterProvider(ArcProvider),
}

/// Every managed field in which Azure differs from the spec, in the order of the spec.
pub fn differences(desired: &Desired, actual: Option<&Connector>) -> Vec<Difference> {
    let Some(connector) = actual else {
        return vec![Difference {
            field: ConnectorPath::Connector,
            desired: ConnectorValue::Text(desired.target.name.clone()),
            observed: ConnectorValue::Absent,
        }];
    };
    let rows = desired.fields.iter();
    rows.filter_map(|row| difference(row, connector)).collect()
}

fn difference(row: &Row, connector: &Connector) -> Option<Difference> {
    let observed = connector.value(&row.field);
    let (same, reported) = if row.field == ConnectorField::Tier {
        tier(row, connector, observed)
    } else {
        (row.value.matches(observed), row.value.observed_value(observed))
    };
    (!same).then(|| Difference {
        field: ConnectorPath::from(&row.field),
        desired: row.value.value(),
        observed: if row.field == ConnectorField::ArcAgentProxy {
            reported.without_password()
        } else {
            reported
        },
    })
}

/// The difference in the plan. A plan that is absent counts as Free.
fn tier(row: &Row, connector: &Connector, observed: Option<&ObservedValue>) -> (bool, ConnectorValue) {
    let found = connector.tier;
    let reported = match (found, observed) {
        (Some(tier), _) => ConnectorValue::Tier(tier),
        (None, None) => ConnectorValue::UnspecifiedTier,
        (None, Some(_)) => row.value.observed_value(observed),
    };
    let same = found.is_some_and(|found| row.value == Expected::Tier(found));
    (same, reported)
}

/// The writes that repair every difference except in suppressed (contested) fields.
pub fn changes(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<ConnectorPath>,
) -> Vec<Change> {
    let reached = |difference: &Difference| {
        let mut rows = desired.fields.iter();
        let row = rows.find(|row| ConnectorPath::from(&row.field) == difference.field);
        row.is_none_or(|row| reachable(desired, actual, suppressed, row))
    };
    let fields: Vec<_> = differences(desired, actual)
        .into_iter()
        .filter(|difference| !suppressed.contains(&difference.field) && reached(difference))
        .collect();
    if fields.is_empty() {
        return Vec::new();
    }
    let write = ConnectorWrite::of(desired, actual, suppressed);
    vec![Change {
        action: Action::PutConnector(write),
        fields,
    }]
}

/// Describes a change for users: its fields with both values.
pub fn describe(change: &Change) -> String {
    match &change.action {
        Action::CreateResourceGroup { name, .. } => format!("resource group {name}"),
        Action::RegisterProvider(provider) => format!("registration of {}", provider.namespace()),
        Action::PutConnector(_) => match change.fields.as_slice() {
            [only] if only.field == ConnectorPath::Connector => format!("connector {} (new)", only.desired),
            fields => listed(fields),
        },
    }
}
