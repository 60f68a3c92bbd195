//! Reductions (I-12): the changes of a connector that lower protection, or might lower it.

use std::collections::BTreeSet;

use serverprotection_api::Tier;

use super::{
    changes::{Difference, differences},
    desired::Desired,
    observed::Connector,
};
use crate::{
    reductions,
    switch::{DISABLED, ENABLED},
    tier::protection,
};

fn lowers(difference: &Difference) -> bool {
    if difference.field == "plan.tier" {
        let rank = |name: &str| match name {
            "P1" => protection(Tier::P1),
            "P2" => protection(Tier::P2),
            _ => protection(Tier::Free),
        };
        return rank(&difference.desired) < rank(&difference.observed);
    }
    difference.desired == DISABLED && difference.observed == ENABLED
}

/// The differences whose repair would lower protection: a lower tier, a part switched off, fewer regions, more
/// excluded accounts; or a working identity replaced by one that the spec does not name.
pub fn of<'a>(desired: &Desired, all: &'a [Difference]) -> Vec<&'a Difference> {
    let lowers = |difference: &&Difference| {
        let field = difference.field.as_str();
        lowers(difference)
            || (field == "plan.tier" && difference.observed == "unspecified" && difference.desired != "P2")
            || (field == "aws.regions" && narrower(difference))
            || (field.contains(".organization.excluded") && wider(difference))
            || (difference.observed != "none" && is_defaulted(desired, field))
    };
    all.iter().filter(lowers).collect()
}

fn is_defaulted(desired: &Desired, field: &str) -> bool {
    let mut rows = desired.fields.iter();
    rows.any(|row| row.field.path() == field && row.defaulted)
}

fn entries(list: &str) -> BTreeSet<String> {
    let entries = list.split(' ').filter(|entry| *entry != "none");
    entries.map(str::to_lowercase).collect()
}

fn narrower(difference: &Difference) -> bool {
    if difference.desired == "all" {
        return false;
    }
    difference.observed == "all" || !entries(&difference.observed).is_subset(&entries(&difference.desired))
}

fn wider(difference: &Difference) -> bool {
    !entries(&difference.desired).is_subset(&entries(&difference.observed))
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
