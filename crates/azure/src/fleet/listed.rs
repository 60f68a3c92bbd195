//! Machines from rows of the machines query, including rows that cannot be read completely.

use serverprotection_core::machines::{Kind, Listing, Machine};

use super::{
    confirmation::fingerprint,
    parsed::Parsed,
    rows::{MachineRow, hash},
};

/// The machine of a row, and the state of the row.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) machine: Machine,
    pub(super) row: Row,
}

/// The state of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// The row can be read and has a resource id.
    Good,
    /// The row has a resource id but cannot be read completely. The number distinguishes rows of one machine.
    Odd(u64),
    /// The row has no usable id. The number distinguishes rows, but equal rows may be different machines.
    Nameless(u64),
}

impl From<Parsed<MachineRow>> for Listed {
    fn from(parsed: Parsed<MachineRow>) -> Self {
        let mut machine = parsed.row.into_machine();
        let usable = is_resource_id(&machine.id);
        if usable && parsed.odd.is_none() {
            if machine.subscription_id.is_empty() {
                complete(&mut machine);
            }
            return Self {
                machine,
                row: Row::Good,
            };
        }
        if usable {
            complete(&mut machine);
        }
        machine.listing = Listing::Unreadable;
        let print = parsed
            .odd
            .map_or_else(|| fingerprint(&machine), |odd| odd.fingerprint());
        let row = if usable {
            Row::Odd(print)
        } else {
            Row::Nameless(print)
        };
        Self { machine, row }
    }
}

impl Listed {
    /// Distinguishes rows: a machine with two extensions has two.
    pub(super) fn key(&self) -> u64 {
        let part = match self.row {
            Row::Good => {
                let extension = self.machine.extensions.first();
                let name = extension.map_or("", |extension| extension.name.as_str());
                format!("/{}", name.to_ascii_lowercase())
            }
            Row::Odd(print) | Row::Nameless(print) => format!("?{print:x}"),
        };
        hash(&self.machine.id, &part)
    }

    /// Gives a row without a usable id an id that is the same in every scan, and a name. `which`: the number among
    /// equal rows.
    pub(super) fn name_it(&mut self, which: u32) {
        let Row::Nameless(print) = self.row else { return };
        let machine = &mut self.machine;
        let label = format!("row-without-id-{:08x}-{which}", print >> 32);
        if machine.name.is_empty() {
            machine.name.clone_from(&label);
        }
        machine.id = label;
    }
}

/// Whether this is an id that a GET accepts: `/subscriptions/{id}/…/providers/{namespace}/{type}/{name}`.
pub(super) fn is_resource_id(id: &str) -> bool {
    let mut parts = id.split('/');
    let mut next_is = |expected: fn(&str) -> bool| parts.next().is_some_and(expected);
    next_is(str::is_empty)
        && next_is(|part| part.eq_ignore_ascii_case("subscriptions"))
        && next_is(|part| !part.is_empty())
        && parts.by_ref().any(|part| part.eq_ignore_ascii_case("providers"))
        && (0..3).all(|_| parts.next().is_some_and(|part| !part.is_empty()))
}

/// Fills empty columns from the id.
fn complete(machine: &mut Machine) {
    let Machine {
        id,
        name,
        subscription_id,
        resource_group,
        kind,
        ..
    } = machine;
    let parts: Vec<&str> = id.split('/').collect();
    let after = |expected: &str| {
        let at = parts
            .iter()
            .position(|part| part.eq_ignore_ascii_case(expected))?;
        parts.get(at + 1).copied()
    };
    if subscription_id.is_empty() {
        *subscription_id = after("subscriptions").unwrap_or_default().to_ascii_lowercase();
    }
    if resource_group.is_empty() {
        *resource_group = after("resourceGroups").unwrap_or_default().into();
    }
    if name.is_empty() {
        *name = parts.last().copied().unwrap_or_default().into();
    }
    // A row without a type counts as a virtual machine.
    if *kind == Kind::VirtualMachine && after("Microsoft.HybridCompute").is_some() {
        *kind = Kind::ArcMachine;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/subscriptions/S/resourceGroups/RG/providers/Microsoft.HybridCompute/machines/arc-1";

    fn listed(row: &str) -> Listed {
        serde_json::from_str::<Parsed<MachineRow>>(row).unwrap().into()
    }

    #[test]
    fn tags_and_lists_are_read_in_every_form() {
        for nothing in ["null", r#""""#, "[]", "{}"] {
            let row = format!(
                r#"{{"id": "{ID}", "subscriptionId": "s", "tags": {nothing}, "allowList": {nothing}, "blockList": {nothing}}}"#
            );
            let listed = listed(&row);
            assert_eq!(
                (listed.row, listed.machine.listing),
                (Row::Good, Listing::Read),
                "{row}"
            );
            assert!(listed.machine.tags.is_empty(), "{row}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_completely_keeps_the_readable_columns() {
        let row = format!(r#"{{"id": "{ID}", "tags": "owner", "power": "x", "extName": "e"}}"#);
        let odd = listed(&row);
        assert!(matches!(odd.row, Row::Odd(_)));
        let machine = &odd.machine;
        assert_eq!(machine.listing, Listing::Unreadable);
        assert_eq!(
            (
                machine.name.as_str(),
                machine.subscription_id.as_str(),
                machine.resource_group.as_str()
            ),
            ("arc-1", "s", "RG")
        );
        assert_eq!((machine.kind, machine.power.as_str()), (Kind::ArcMachine, "x"));
        let other = listed(&row.replace("\"e\"", "\"f\""));
        assert_ne!(odd.key(), other.key());
    }

    #[test]
    fn a_row_without_a_usable_id_gets_a_stable_name() {
        for row in [
            "null",
            r#""garbage""#,
            "{}",
            r#"{"id": "web-1", "name": "web-1"}"#,
            r#"{"id": {"a": 1}, "subscriptionId": "s"}"#,
            r#"{"id": "/subscriptions/s/providers/x"}"#,
            r#"{"id": "/subscriptions//resourceGroups/rg/providers/a/b/c"}"#,
        ] {
            let named = |which| {
                let mut listed = listed(row);
                assert!(matches!(listed.row, Row::Nameless(_)), "{row}");
                listed.name_it(which);
                listed.machine
            };
            let machine = named(1);
            assert_eq!(machine.listing, Listing::Unreadable, "{row}");
            assert!(
                !machine.name.is_empty() && !is_resource_id(&machine.id),
                "{machine:?}"
            );
            assert_eq!(machine, named(1));
            assert_ne!(machine.id, named(2).id);
        }
    }
}
