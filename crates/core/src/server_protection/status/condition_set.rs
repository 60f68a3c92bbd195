//! The conditions that are about one subject each.

use serverprotection_api::{OtherPlansStatus, PlanStatus, ServerProtectionStatus, Tier};

use super::{Phase, permissions::permissions};
use crate::{
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    drift::drifted,
    message::Message,
    permissions::credential,
    server_protection::{
        decide::{Decision, Input, Situation, write_is_open},
        desired::Desired,
        field::{ExtensionName, ProtectionField, Setting},
        observed::{Observed, Plan, RegistrationState, Settings},
        provisioning::Provisioning,
    },
    switch::{DISABLED, ENABLED},
    tier::tier_name,
};

/// Present from the first patch on.
pub(super) const ALWAYS: [ConditionType; 12] = [
    ConditionType::Ready,
    ConditionType::Claimed,
    ConditionType::CredentialReady,
    ConditionType::ProviderRegistered,
    ConditionType::PlanEnabled,
    ConditionType::ExtensionsProvisioned,
    ConditionType::EndpointIntegrationEnabled,
    ConditionType::VulnerabilityAssessmentEnabled,
    ConditionType::PermissionsSufficient,
    ConditionType::MachinesProtected,
    ConditionType::ConnectorsReady,
    ConditionType::Drifted,
];

/// Sets the conditions from what this reconcile observed; conditions about what it did not read stay unchanged.
/// Returns the missing actions, if this reconcile determined them.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    observed: &Observed,
    status: &ServerProtectionStatus,
) -> Option<Vec<String>> {
    let (plan_status, open) = (status.plan.as_ref(), write_is_open(status));
    let desired = Desired::of(input.spec);
    credential(conditions, &observed.credential, observed.failure());
    registration(conditions, observed, decision);
    let latest = super::latest_plan(observed, phase);
    plan(conditions, &desired, open, latest, status.other_plans.as_ref());
    extensions(conditions, &desired, open, plan_status);
    if let Some(Ok(settings)) = &observed.settings {
        integration(conditions, &desired, settings);
    }
    if let Some(Ok(on)) = observed.assessment {
        assessment(conditions, &desired, on);
    }
    let missing = permissions(conditions, input, &desired, observed, phase);
    if plan_status.is_some() && decision.compared {
        let consequence = super::summary::ended_with_the_tier(input);
        drifted(conditions, &decision.differences, consequence.as_deref());
    }
    missing
}

fn registration(conditions: &mut Conditions, observed: &Observed, decision: &Decision) {
    let stuck = matches!(decision.situation, Situation::Registering { stuck: true });
    let state = match decision.situation {
        // The registration was just requested, even if the read still returns the old state.
        Situation::Registering { .. } => Some(RegistrationState::Registering),
        _ => observed.registration_state(),
    };
    let (status, reason, message) = match state {
        Some(RegistrationState::Registering) if stuck => (
            ConditionStatus::False,
            Reason::RegistrationStuck,
            "Azure has been registering Microsoft.Security for much longer than the usual minutes",
        ),
        Some(RegistrationState::Registering) => (
            ConditionStatus::False,
            Reason::Registering,
            "Azure is registering Microsoft.Security, which takes minutes",
        ),
        Some(RegistrationState::NotRegistered) => (
            ConditionStatus::False,
            Reason::NotRegistered,
            "Microsoft.Security is not registered in the subscription",
        ),
        Some(RegistrationState::Registered) => registered(),
        // A plan that can be read proves the registration.
        None if matches!(observed.plan, Some(Ok(_))) => registered(),
        None => return,
    };
    let message = Message::new(message);
    conditions.set(ConditionType::ProviderRegistered, status, reason, &message);
}

const fn registered() -> (ConditionStatus, Reason, &'static str) {
    let message = "Microsoft.Security is registered";
    (ConditionStatus::True, Reason::Registered, message)
}

fn plan(
    conditions: &mut Conditions,
    desired: &Desired,
    open: bool,
    plan: Option<&Plan>,
    others: Option<&OtherPlansStatus>,
) {
    let without_posture = others.is_some_and(|plans| plans.foundational_cspm.as_deref() == Some(DISABLED));
    let expected = tier_name(desired.tier);
    let (status, reason, message) = match plan {
        _ if open => (
            ConditionStatus::Unknown,
            Reason::Applying,
            format!("Plan {expected} is being written; its state is unknown until Azure responds"),
        ),
        None => return,
        Some(plan) if plan.tier != desired.tier => (
            ConditionStatus::False,
            Reason::PlanDiffers,
            format!(
                "Azure has plan {}, the spec demands {expected}",
                tier_name(plan.tier)
            ),
        ),
        Some(plan) if plan.tier == Tier::Free => (
            ConditionStatus::False,
            Reason::Free,
            "The plan is Free, as the spec demands".into(),
        ),
        // The plan works, but Azure gives no recommendations.
        Some(plan) if without_posture => (
            ConditionStatus::True,
            Reason::FoundationalCspmOff,
            format!(
                "{}. Foundational CSPM (plan FoundationalCspm) is off in the subscription, so Azure gives no recommendations for its machines",
                enabled(plan)
            ),
        ),
        Some(plan) => (ConditionStatus::True, Reason::PlanEnabled, enabled(plan)),
    };
    conditions.set(ConditionType::PlanEnabled, status, reason, &Message::new(message));
}

fn enabled(plan: &Plan) -> String {
    let tier = tier_name(plan.tier);
    match plan.coverage.as_deref() {
        Some(coverage @ "PartiallyCovered") => {
            format!(
                "Plan {tier} is enabled, {coverage}: some machines have another plan than the subscription"
            )
        }
        Some(coverage) => format!("Plan {tier} is enabled, {coverage}"),
        None => format!("Plan {tier} is enabled"),
    }
}

fn extensions(conditions: &mut Conditions, desired: &Desired, open: bool, plan: Option<&PlanStatus>) {
    const TYPE: ConditionType = ConditionType::ExtensionsProvisioned;
    if open {
        let message = Message::new("The plan is being written; the response reports the result");
        conditions.set(TYPE, ConditionStatus::Unknown, Reason::Applying, &message);
        return;
    }
    let Some(plan) = plan else { return };
    let managed = |name: &str| desired.extension(&ExtensionName::from_azure(name)) == Some(true);
    let with = |result: Provisioning, only_managed: bool| -> Vec<String> {
        plan.extensions
            .iter()
            .filter(|extension| result.is_of(extension))
            .filter(|extension| !only_managed || managed(&extension.name))
            .map(|extension| {
                let path = ExtensionName::from_azure(&extension.name).path();
                match &extension.message {
                    Some(message) => format!("{path}: {message}"),
                    None => path.into_owned(),
                }
            })
            .collect()
    };
    let failed = with(Provisioning::Failed, false);
    let is_on = |name: &ExtensionName| {
        let mut found = plan.extensions.iter();
        found
            .find(|found| name.is_named(&found.name))
            .is_some_and(|found| found.state == ENABLED)
    };
    let off: Vec<_> = desired
        .extensions()
        .filter(|(name, on)| *on && !is_on(name))
        .map(|(name, _)| name.path())
        .collect();
    let lost = with(Provisioning::ResultLost, true);
    let unreported = with(Provisioning::NotReported, true);
    let (status, reason, message) = match () {
        () if !failed.is_empty() => (
            ConditionStatus::False,
            Reason::ExtensionFailed,
            Message::new("Azure could not provision an extension").cause(failed.join("; ")),
        ),
        () if !off.is_empty() => (
            ConditionStatus::False,
            Reason::NotEnabled,
            Message::new(format!("Disabled in Azure: {}", off.join(", "))),
        ),
        () if !lost.is_empty() => (
            ConditionStatus::Unknown,
            Reason::ResultLost,
            Message::new(format!(
                "Enabled, but the provisioning result was lost, and Azure reports it only once: {}",
                lost.join(", ")
            ))
            .action("Check the extension in the portal, or disable it in the spec and enable it again"),
        ),
        () if !unreported.is_empty() => (
            ConditionStatus::Unknown,
            Reason::NotReported,
            Message::new(format!(
                "Enabled before this object wrote anything; Azure reports a result only when it enables an extension: {}",
                unreported.join(", ")
            )),
        ),
        () if desired.extensions().any(|(_, on)| on) => (
            ConditionStatus::True,
            Reason::Provisioned,
            Message::new("Azure enabled every managed extension without an error"),
        ),
        () => (
            ConditionStatus::True,
            Reason::NoneManaged,
            Message::new("The spec enables no extension"),
        ),
    };
    conditions.set(TYPE, status, reason, &message);
}

fn integration(conditions: &mut Conditions, desired: &Desired, settings: &Settings) {
    let off: Vec<Setting> = Setting::ALL
        .iter()
        .copied()
        .filter(|setting| !settings.is_on(*setting))
        .collect();
    let expected = |setting: Setting| desired.switch(&ProtectionField::Setting(setting));
    let demanded = Setting::ALL
        .iter()
        .any(|setting| expected(*setting) == Some(true));
    let differs = Setting::ALL
        .iter()
        .any(|setting| expected(*setting).is_some_and(|on| on != settings.is_on(*setting)));
    let listed = || {
        let paths: Vec<_> = off.iter().map(|setting| setting.path()).collect();
        paths.join(", ")
    };
    let (status, reason, message) = match off.as_slice() {
        [] => (
            ConditionStatus::True,
            Reason::Enabled,
            "Defender for Endpoint is integrated, with both opt-ins".to_owned(),
        ),
        [Setting::Integration, ..] if demanded => (
            ConditionStatus::False,
            Reason::NotEnabled,
            format!("Disabled in Azure: {}", listed()),
        ),
        [Setting::Integration, ..] => (
            ConditionStatus::False,
            Reason::Disabled,
            "The integration is disabled".to_owned(),
        ),
        _ => (
            ConditionStatus::True,
            if differs {
                Reason::PartlyEnabled
            } else {
                Reason::Partial
            },
            format!("The integration is enabled; disabled in Azure: {}", listed()),
        ),
    };
    let status = if differs { ConditionStatus::False } else { status };
    let message = Message::new(message);
    conditions.set(
        ConditionType::EndpointIntegrationEnabled,
        status,
        reason,
        &message,
    );
}

fn assessment(conditions: &mut Conditions, desired: &Desired, on: bool) {
    let (status, reason, message) = match (on, desired.switch(&ProtectionField::Assessment)) {
        (true, _) => (
            ConditionStatus::True,
            Reason::Enabled,
            "Defender Vulnerability Management assesses the machines",
        ),
        (false, Some(true)) => (
            ConditionStatus::False,
            Reason::NotEnabled,
            "No provider is selected in Azure",
        ),
        (false, _) => (
            ConditionStatus::False,
            Reason::Disabled,
            "No provider is selected, and the spec demands none",
        ),
    };
    let message = Message::new(message);
    conditions.set(
        ConditionType::VulnerabilityAssessmentEnabled,
        status,
        reason,
        &message,
    );
}
