//! Reductions (I-12): the changes of a connector that lower protection, or might lower it.

use std::collections::BTreeSet;

use serverprotection_api::Tier;

use super::{
    changes::{Difference, differences},
    desired::Desired,
    observed::Connector,
    value::{ConnectorPath, ConnectorValue, Empty},
};
use crate::{reductions, tier::protection};

/// The differences whose repair would lower protection: a lower tier, a part switched off, fewer regions, more
/// excluded accounts; or a working identity replaced by one that the spec does not name.
pub fn of<'a>(desired: &Desired, all: &'a [Difference]) -> Vec<&'a Difference> {
    let is_reduction = |difference: &&Difference| {
        let defaulted = is_defaulted(desired, &difference.field);
        lowers(difference) || (defaulted && difference.observed != ConnectorValue::Absent)
    };
    all.iter().filter(is_reduction).collect()
}

fn lowers(difference: &Difference) -> bool {
    match (&difference.observed, &difference.desired) {
        (ConnectorValue::Tier(from), ConnectorValue::Tier(to)) => protection(*to) < protection(*from),
        (ConnectorValue::UnspecifiedTier, ConnectorValue::Tier(to)) => *to != Tier::P2,
        (ConnectorValue::Switch(from), ConnectorValue::Switch(to)) => *from && !*to,
        // Of a list of what is protected, entries go.
        (from, ConnectorValue::List(to, Empty::All)) => match from {
            _ if to.is_empty() => false,
            ConnectorValue::List(from, _) => from.is_empty() || !entries(from).is_subset(&entries(to)),
            _ => true,
        },
        // To a list of what is not protected, entries come.
        (from, ConnectorValue::List(to, Empty::None)) => match from {
            ConnectorValue::List(from, _) => !entries(to).is_subset(&entries(from)),
            _ => !to.is_empty(),
        },
        _ => false,
    }
}

fn is_defaulted(desired: &Desired, field: &ConnectorPath) -> bool {
    let mut rows = desired.fields.iter();
    rows.any(|row| row.defaulted && ConnectorPath::from(&row.field) == *field)
}

fn entries(list: &[String]) -> BTreeSet<String> {
    list.iter().map(|entry| entry.to_lowercase()).collect()
}

/// The reductions between spec and connector that the annotation does not approve.
pub fn unapproved(
    desired: &Desired,
    actual: Option<&Connector>,
    annotation: Option<&str>,
    generation: i64,
) -> Vec<Difference> {
    let all = differences(desired, actual);
    let found = of(desired, &all);
    let open = reductions::unapproved(&found, annotation, generation);
    open.into_iter().cloned().collect()
}
