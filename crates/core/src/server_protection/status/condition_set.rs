//! The conditions that tell about one aspect each.

use serverprotection_api::{Mode, PlanStatus, Tier};

use super::Phase;
use crate::{
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, Conditions},
    server_protection::{
        azure_rules::{self, Setting, tier_name},
        changes::Difference,
        decide::{APPLYING, Decision, Input, Situation, write_is_open},
        desired::Desired,
        observed::{Observed, Permissions, Plan, ReadResult, RegistrationState, Settings},
    },
};

/// Present from the first patch on.
pub(super) const ALWAYS: [&str; 11] = [
    "Ready",
    "CredentialReady",
    "ProviderRegistered",
    "PlanEnabled",
    "ExtensionsProvisioned",
    "EndpointIntegrationEnabled",
    "VulnerabilityAssessmentEnabled",
    "PermissionsSufficient",
    "MachinesProtected",
    "ConnectorsReady",
    "Drifted",
];

/// Sets them from what this visit saw. What it could not read keeps what was known.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    observed: &Observed,
    plan_status: Option<&PlanStatus>,
) {
    let desired = Desired::of(input.spec);
    credential(conditions, &observed.credential, observed.failure());
    registration(conditions, observed, decision);
    plan(
        conditions,
        input,
        &desired,
        decision,
        phase,
        super::latest_plan(observed, phase),
    );
    extensions(conditions, &desired, plan_status);
    if let Some(Ok(settings)) = &observed.settings {
        integration(conditions, &desired, settings);
    }
    if let Some(Ok(on)) = observed.assessment {
        assessment(conditions, &desired, on);
    }
    permissions(conditions, input, &desired, observed, phase);
    let compared = !matches!(
        decision.situation,
        Situation::Failing(_) | Situation::Registering { .. } | Situation::RegistrationMissing
    );
    if plan_status.is_some() && compared {
        drifted(conditions, &decision.differences);
    }
}

pub(crate) fn credential(
    conditions: &mut Conditions,
    token: &Result<(), AzureError>,
    failure: Option<&AzureError>,
) {
    let refused = token
        .as_ref()
        .err()
        .or_else(|| failure.filter(|failure| failure.class == ErrorClass::Credential));
    match refused {
        None => conditions.set(
            "CredentialReady",
            ConditionStatus::True,
            "TokenIssued",
            "Entra issued a token",
        ),
        Some(failure) if failure.class.is_transient() => {
            conditions.set(
                "CredentialReady",
                ConditionStatus::Unknown,
                "EntraUnreachable",
                failure.to_string(),
            );
        }
        Some(failure) => {
            let message = format!("{failure}; {}", failure.hint());
            conditions.set(
                "CredentialReady",
                ConditionStatus::False,
                reason_of(failure),
                message,
            );
        }
    }
}

/// A failure as the reason of a condition: Azure's code where it is a CamelCase word, as most are.
pub(crate) fn reason_of(failure: &AzureError) -> &str {
    let word = failure.code.starts_with(|first: char| first.is_ascii_uppercase())
        && failure.code.chars().all(|c| c.is_ascii_alphanumeric())
        && failure.code.chars().any(|c| c.is_ascii_lowercase());
    match &failure.class {
        _ if word => &failure.code,
        ErrorClass::Credential => "AuthenticationFailed",
        ErrorClass::Permission(_) => "PermissionMissing",
        ErrorClass::NotFound => "NotFound",
        ErrorClass::NotRegistered => "ProviderNotRegistered",
        ErrorClass::Refused => "RefusedByAzure",
        ErrorClass::Throttled(_) => "Throttled",
        ErrorClass::Conflict => "UpdateInProgress",
        ErrorClass::Transient | ErrorClass::Unavailable(_) => "AzureUnavailable",
    }
}

fn registration(conditions: &mut Conditions, observed: &Observed, decision: &Decision) {
    const TYPE: &str = "ProviderRegistered";
    let stuck = matches!(decision.situation, Situation::Registering { stuck: true });
    let state = match decision.situation {
        // It was asked for a moment ago, whatever the reading still says.
        Situation::Registering { .. } => Some(RegistrationState::Registering),
        _ => observed.registration_state(),
    };
    match state {
        Some(RegistrationState::Registered) => {
            conditions.set(
                TYPE,
                ConditionStatus::True,
                "Registered",
                "Microsoft.Security is registered",
            );
        }
        Some(RegistrationState::Registering) if stuck => conditions.set(
            TYPE,
            ConditionStatus::False,
            "RegistrationStuck",
            "Azure has been registering Microsoft.Security for far longer than the usual minutes",
        ),
        Some(RegistrationState::Registering) => {
            conditions.set(
                TYPE,
                ConditionStatus::False,
                "Registering",
                "Azure registers Microsoft.Security; it takes minutes",
            );
        }
        Some(RegistrationState::NotRegistered) => {
            conditions.set(
                TYPE,
                ConditionStatus::False,
                "NotRegistered",
                "Microsoft.Security is not registered in the subscription",
            );
        }
        // A plan that can be read proves the registration.
        _ if matches!(observed.plan, Some(Ok(_))) => {
            conditions.set(
                TYPE,
                ConditionStatus::True,
                "Registered",
                "Microsoft.Security is registered",
            );
        }
        _ => {}
    }
}

fn plan(
    conditions: &mut Conditions,
    input: &Input<'_>,
    desired: &Desired,
    decision: &Decision,
    phase: Phase<'_>,
    plan: Option<&Plan>,
) {
    const TYPE: &str = "PlanEnabled";
    if result_is_open(input, decision, phase) {
        let message = format!(
            "writing plan {}; until Azure's answer is known, it counts as unknown",
            tier_name(desired.tier)
        );
        conditions.set(TYPE, ConditionStatus::Unknown, APPLYING, message);
        return;
    }
    let Some(plan) = plan else { return };
    let found = tier_name(plan.tier);
    let expected = tier_name(desired.tier);
    if plan.tier != desired.tier {
        let message = format!("Azure has plan {found}, the spec demands {expected}");
        conditions.set(TYPE, ConditionStatus::False, "PlanDiffers", message);
    } else if plan.tier == Tier::Free {
        conditions.set(
            TYPE,
            ConditionStatus::False,
            "Free",
            "the plan is Free, as the spec demands",
        );
    } else {
        let message = match plan.coverage.as_deref() {
            Some("PartiallyCovered") => {
                format!("plan {found}, PartiallyCovered: some machines differ from the subscription's plan")
            }
            Some(coverage) => format!("plan {found}, {coverage}"),
            None => format!("plan {found}"),
        };
        conditions.set(TYPE, ConditionStatus::True, "PlanEnabled", message);
    }
}

/// Whether, after this progress, a plan write stands whose result is not known.
fn result_is_open(input: &Input<'_>, decision: &Decision, phase: Phase<'_>) -> bool {
    match phase {
        Phase::BeforeWrite => decision.writes_plan(),
        Phase::AfterWrite(outcome) => {
            let lost = outcome.failed.as_ref().is_some_and(|(change, failure)| {
                failure.effect_unknown
                    && matches!(
                        change.action,
                        crate::server_protection::changes::Action::PutPlan(_)
                    )
            });
            let answered = outcome.plan.is_some();
            // An open one stays open until an answer, or until nobody writes any more.
            let was_open =
                write_is_open(input.previous) && input.spec.mode == Mode::Enforce && !input.spec.suspend;
            lost || (was_open && !answered)
        }
    }
}

fn extensions(conditions: &mut Conditions, desired: &Desired, plan: Option<&PlanStatus>) {
    const TYPE: &str = "ExtensionsProvisioned";
    let open = conditions
        .get("PlanEnabled")
        .is_some_and(|condition| condition.reason == APPLYING);
    if open {
        conditions.set(
            TYPE,
            ConditionStatus::Unknown,
            APPLYING,
            "the plan is being written; its answer tells the result",
        );
        return;
    }
    let Some(plan) = plan else { return };
    let managed = |name: &str| desired.extension(name).is_some_and(|extension| extension.enabled);
    let with = |result: &str, only_managed: bool| -> Vec<String> {
        plan.extensions
            .iter()
            .filter(|extension| extension.provisioning.as_deref() == Some(result))
            .filter(|extension| !only_managed || managed(&extension.name))
            .map(|extension| match &extension.message {
                Some(message) => format!("{}: {message}", extension.name),
                None => extension.name.clone(),
            })
            .collect()
    };
    let failed = with("Failed", false);
    let off: Vec<&str> = desired
        .extensions
        .iter()
        .filter(|extension| extension.enabled)
        .filter(|extension| {
            let found = plan
                .extensions
                .iter()
                .find(|found| found.name.eq_ignore_ascii_case(&extension.name));
            found.is_none_or(|found| found.state != "Enabled")
        })
        .map(|extension| extension.name.as_str())
        .collect();
    let lost = with("ResultLost", true);
    let unreported = with("NotReported", true);
    if !failed.is_empty() {
        conditions.set(TYPE, ConditionStatus::False, "ExtensionFailed", failed.join("; "));
    } else if !off.is_empty() {
        let message = format!("off in Azure: {}", off.join(", "));
        conditions.set(TYPE, ConditionStatus::False, "NotEnabled", message);
    } else if !lost.is_empty() {
        let message = format!(
            "{}: on, but Azure's result never arrived and it does not tell it twice; check it in the portal, or switch the extension off and on in the spec",
            lost.join(", ")
        );
        conditions.set(TYPE, ConditionStatus::Unknown, "ResultLost", message);
    } else if !unreported.is_empty() {
        let message = format!(
            "{}: on before this object wrote anything; Azure tells a result only when it switches an extension on",
            unreported.join(", ")
        );
        conditions.set(TYPE, ConditionStatus::Unknown, "NotReported", message);
    } else if desired.extensions.iter().any(|extension| extension.enabled) {
        conditions.set(
            TYPE,
            ConditionStatus::True,
            "Provisioned",
            "Azure switched every managed extension on without a failure",
        );
    } else {
        conditions.set(
            TYPE,
            ConditionStatus::True,
            "NoneManaged",
            "the spec switches no extension on",
        );
    }
}

fn integration(conditions: &mut Conditions, desired: &Desired, settings: &Settings) {
    let parts = [
        (Setting::Integration, settings.integration, desired.integration),
        (
            Setting::UnifiedSolution,
            settings.unified_solution,
            desired.unified_solution,
        ),
        (Setting::Linux, settings.exclude_linux, desired.linux),
    ];
    let on = |setting: Setting, wire: Option<bool>| setting.wire(wire.unwrap_or(false));
    let off: Vec<&str> = parts
        .iter()
        .filter(|(setting, wire, _)| !on(*setting, *wire))
        .map(|(setting, ..)| setting.field())
        .collect();
    let demanded = parts.iter().any(|(.., desired)| *desired == Some(true));
    let (answer, reason, message) = match off.as_slice() {
        [] => (
            ConditionStatus::True,
            "Enabled",
            "Defender for Endpoint is integrated, with both opt-ins".to_owned(),
        ),
        ["endpointIntegration.state", ..] if demanded => (
            ConditionStatus::False,
            "NotEnabled",
            format!("off in Azure: {}", off.join(", ")),
        ),
        ["endpointIntegration.state", ..] => (
            ConditionStatus::False,
            "Disabled",
            "the integration is off".to_owned(),
        ),
        _ => (
            ConditionStatus::True,
            "Partial",
            format!("the integration is on; off in Azure: {}", off.join(", ")),
        ),
    };
    let differs = parts
        .iter()
        .any(|(setting, wire, desired)| desired.is_some_and(|desired| desired != on(*setting, *wire)));
    let answer = if differs { ConditionStatus::False } else { answer };
    let reason = if differs && reason == "Partial" {
        "PartlyEnabled"
    } else {
        reason
    };
    conditions.set("EndpointIntegrationEnabled", answer, reason, message);
}

fn assessment(conditions: &mut Conditions, desired: &Desired, on: bool) {
    let (answer, reason, message) = match (on, desired.assessment) {
        (true, _) => (
            ConditionStatus::True,
            "Enabled",
            "Defender Vulnerability Management assesses the machines",
        ),
        (false, Some(true)) => (
            ConditionStatus::False,
            "NotEnabled",
            "no provider is selected in Azure",
        ),
        (false, _) => (
            ConditionStatus::False,
            "Disabled",
            "no provider is selected, and the spec demands none",
        ),
    };
    conditions.set("VulnerabilityAssessmentEnabled", answer, reason, message);
}

/// The actions that the spec needs, in the order in which they are first used (docs/azure-api.md 8.7).
fn required_actions(input: &Input<'_>, desired: &Desired) -> Vec<&'static str> {
    let mut actions = vec![
        "Microsoft.Security/pricings/read",
        "Microsoft.Security/settings/read",
        "Microsoft.Security/serverVulnerabilityAssessmentsSettings/read",
    ];
    if input.spec.mode == Mode::Enforce {
        actions.push("Microsoft.Security/pricings/write");
        if [desired.integration, desired.unified_solution, desired.linux]
            .iter()
            .any(Option::is_some)
        {
            actions.push("Microsoft.Security/settings/write");
        }
        match desired.assessment {
            Some(true) => actions.push("Microsoft.Security/serverVulnerabilityAssessmentsSettings/write"),
            Some(false) => actions.push("Microsoft.Security/serverVulnerabilityAssessmentsSettings/delete"),
            None => {}
        }
        if desired
            .extensions
            .iter()
            .any(|extension| extension.enabled && azure_rules::assigns_roles(&extension.name))
        {
            actions.push(azure_rules::ASSIGN_ROLES);
        }
    }
    actions
}

fn permissions(
    conditions: &mut Conditions,
    input: &Input<'_>,
    desired: &Desired,
    observed: &Observed,
    phase: Phase<'_>,
) {
    let write_failure = match phase {
        Phase::AfterWrite(outcome) => outcome.failed.as_ref().map(|(_, failure)| failure),
        Phase::BeforeWrite => None,
    };
    let failure = write_failure.or_else(|| observed.failure());
    let required = required_actions(input, desired);
    permitted(conditions, failure, observed.permissions.as_ref(), &required);
}

/// Whether the identity may do what is required: a denied call tells it best, then what Azure grants.
pub(crate) fn permitted(
    conditions: &mut Conditions,
    failure: Option<&AzureError>,
    granted: Option<&ReadResult<Permissions>>,
    required: &[&str],
) {
    const TYPE: &str = "PermissionsSufficient";
    let denied = failure.filter(|failure| matches!(failure.class, ErrorClass::Permission(_)));
    if let Some(failure) = denied {
        let message = match &failure.class {
            ErrorClass::Permission(Some(action)) => format!("Azure denied {action}"),
            _ => format!("Azure denied {}", failure.operation),
        };
        conditions.set(
            TYPE,
            ConditionStatus::False,
            "MissingPermission",
            format!("{message}; {}", failure.hint()),
        );
        return;
    }
    match granted {
        Some(Ok(permissions)) => permission_condition(conditions, &missing(permissions, required)),
        Some(Err(failure)) => unreadable(conditions, failure),
        None => {}
    }
}

fn permission_condition(conditions: &mut Conditions, missing: &[&str]) {
    const TYPE: &str = "PermissionsSufficient";
    if missing.is_empty() {
        conditions.set(
            TYPE,
            ConditionStatus::True,
            "Sufficient",
            "the identity may do everything that the spec needs",
        );
    } else {
        let message = format!(
            "the identity lacks {}: grant a role with it on the subscription (Security Admin; Owner for all extensions)",
            missing.join(", ")
        );
        conditions.set(TYPE, ConditionStatus::False, "MissingPermission", message);
    }
}

fn missing<'a>(permissions: &Permissions, required: &[&'a str]) -> Vec<&'a str> {
    required
        .iter()
        .filter(|action| !permissions.allow(action))
        .copied()
        .collect()
}

fn unreadable(conditions: &mut Conditions, failure: &AzureError) {
    if !failure.class.is_transient() {
        let message = format!(
            "the identity's permissions cannot be read: {}: {}",
            failure.code, failure.message
        );
        conditions.set(
            "PermissionsSufficient",
            ConditionStatus::Unknown,
            "NotReadable",
            message,
        );
    }
}

pub(crate) fn drifted(conditions: &mut Conditions, differences: &[Difference]) {
    let fields: Vec<_> = differences
        .iter()
        .map(|difference| difference.field.as_str())
        .collect();
    if fields.is_empty() {
        conditions.set(
            "Drifted",
            ConditionStatus::False,
            "NoDrift",
            "Azure stands as the spec demands",
        );
    } else {
        conditions.set(
            "Drifted",
            ConditionStatus::True,
            "Differs",
            format!("differs from the spec: {}", fields.join(", ")),
        );
    }
}
