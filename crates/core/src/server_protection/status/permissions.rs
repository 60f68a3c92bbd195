//! The condition `PermissionsSufficient` of a `ServerProtection`.

use serverprotection_api::Mode;

use super::Phase;
use crate::{
    conditions::Conditions,
    permissions::{Required, permitted},
    server_protection::{
        azure_rules,
        decide::{Input, Outcome},
        desired::Desired,
        field::{ExtensionName, ProtectionField},
        observed::Observed,
    },
};

/// The actions that the spec needs, in the order in which they are first used (docs/azure-api.md 8.7).
fn required_actions(input: &Input<'_>, desired: &Desired) -> Vec<Required> {
    let mut actions = vec![
        "Microsoft.Security/pricings/read",
        "Microsoft.Security/settings/read",
        "Microsoft.Security/serverVulnerabilityAssessmentsSettings/read",
    ];
    if input.spec.mode == Mode::Enforce {
        actions.push("Microsoft.Security/pricings/write");
        let mut rows = desired.rows.iter();
        if rows.any(|row| matches!(row.field, ProtectionField::Setting(_))) {
            actions.push("Microsoft.Security/settings/write");
        }
        match desired.switch(&ProtectionField::Assessment) {
            Some(true) => actions.push("Microsoft.Security/serverVulnerabilityAssessmentsSettings/write"),
            Some(false) => actions.push("Microsoft.Security/serverVulnerabilityAssessmentsSettings/delete"),
            None => {}
        }
    }
    let mut required: Vec<_> = actions.into_iter().map(Required::of_security_admin).collect();
    if input.spec.mode == Mode::Enforce {
        let of_owner = enabled(desired).filter_map(azure_rules::needs_owner);
        required.extend(of_owner.map(Required::owner));
    }
    required
}

/// The extensions that the spec switches on.
fn enabled(desired: &Desired) -> impl Iterator<Item = &ExtensionName> {
    desired.extensions().filter(|(_, on)| *on).map(|(name, _)| name)
}

/// Sets `PermissionsSufficient` of a `ServerProtection`. Returns the missing actions, if this reconcile determined
/// them.
pub(super) fn permissions(
    conditions: &mut Conditions,
    input: &Input<'_>,
    desired: &Desired,
    observed: &Observed,
    phase: Phase<'_>,
) -> Option<Vec<String>> {
    let write_failure = phase.outcome().and_then(Outcome::failure);
    let failure = write_failure.or_else(|| observed.failure());
    let required = required_actions(input, desired);
    let elsewhere: Vec<_> = if input.spec.mode == Mode::Enforce {
        enabled(desired)
            .filter_map(azure_rules::needs_elsewhere)
            .collect()
    } else {
        Vec::new()
    };
    permitted(
        conditions,
        failure,
        observed.permissions.as_ref(),
        &required,
        &elsewhere,
    )
}
