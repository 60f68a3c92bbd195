//! The content of a PUT of the connector. A PUT replaces the whole connector (docs/azure-api.md 4.2): `azure` sends back
//! everything that is not in the write as it was read.

use std::collections::BTreeSet;

use serverprotection_api::Tier;

use super::{
    desired::{Desired, Row},
    expected::Expected,
    field::ConnectorField,
    observed::{Connector, Response},
    value::ConnectorPath,
};

/// A PUT of the connector.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorWrite {
    /// The region of a new connector.
    pub location: String,
    /// Whether the connector has the plan of the servers: not with the tier Free.
    pub servers: bool,
    /// The fields that get the spec's value, in the order of the spec. Every other field keeps its observed value.
    pub fields: Vec<FieldWrite>,
    /// The response that the connector was read from; `None` if it is created.
    pub current: Option<Response>,
}

/// A field of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldWrite {
    /// The field.
    pub field: ConnectorField,
    /// The spec's value.
    pub value: Expected,
    /// Whether the value in Azure must change. Otherwise it means the same and is sent back as Azure spells it.
    pub changes: bool,
}

impl ConnectorWrite {
    /// The write that gives every field except the suppressed ones the spec's value.
    pub fn of(desired: &Desired, actual: Option<&Connector>, suppressed: &BTreeSet<ConnectorPath>) -> Self {
        let fields = desired.fields.iter().filter(|row| {
            let ours = !is_suppressed(suppressed, &row.field) || is_forced(desired, actual, suppressed, row);
            ours && reachable(desired, actual, suppressed, row)
        });
        Self {
            location: desired.location.clone(),
            servers: tier_written(desired, actual, suppressed) != Some(Tier::Free),
            fields: fields.map(|row| FieldWrite::of(row, actual)).collect(),
            current: actual.map(|connector| connector.response.clone()),
        }
    }
}

impl FieldWrite {
    fn of(row: &Row, actual: Option<&Connector>) -> Self {
        let observed = actual.and_then(|connector| connector.value(&row.field));
        // Absent hours match, because a response may omit them, but a write contains them.
        let omitted = matches!(row.value, Expected::Hours(_)) && observed.is_none();
        Self {
            field: row.field.clone(),
            value: row.value.clone(),
            changes: omitted || !row.value.matches(observed),
        }
    }
}

fn is_suppressed(suppressed: &BTreeSet<ConnectorPath>, field: &ConnectorField) -> bool {
    suppressed.contains(&ConnectorPath::from(field))
}

/// Azure refuses P1 with agentless scanning, even while that field is suppressed (docs/azure-api.md 4.4).
fn is_forced(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<ConnectorPath>,
    row: &Row,
) -> bool {
    row.field == ConnectorField::AgentlessState
        && row.value == Expected::Flag(false)
        && tier_written(desired, actual, suppressed) == Some(Tier::P1)
}

/// The tier that a write carries: the observed tier while the tier is suppressed. `None`: Azure has an unknown plan.
fn tier_written(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<ConnectorPath>,
) -> Option<Tier> {
    match actual {
        Some(connector) if is_suppressed(suppressed, &ConnectorField::Tier) => connector.tier,
        _ => Some(desired.tier),
    }
}

/// Whether a write can repair the field while others are suppressed: without a plan of the servers there are no fields
/// of it, P1 has no agentless scanning, and a single account has no stack set.
pub(super) fn reachable(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<ConnectorPath>,
    row: &Row,
) -> bool {
    let tier = tier_written(desired, actual, suppressed);
    if row.field.is_of_servers() && tier == Some(Tier::Free) {
        return row.field == ConnectorField::Tier && row.value == Expected::Tier(Tier::Free);
    }
    let scans = row.field.is_of_agentless_scanning();
    if scans && tier != Some(Tier::P2) && row.value != Expected::Flag(false) {
        return false;
    }
    let differs = |organization: &ConnectorField| {
        let mut rows = desired.fields.iter();
        let row = rows.find(|row| row.field == *organization);
        let is_right = |row: &Row| actual.is_some_and(|found| row.value.matches(found.value(&row.field)));
        row.is_some_and(|row| !is_right(row))
    };
    row.field
        .organization()
        .is_none_or(|organization| !is_suppressed(suppressed, &organization) || !differs(&organization))
}
