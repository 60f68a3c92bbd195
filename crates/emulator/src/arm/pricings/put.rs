//! Computes the plan that results from a PUT. Pure: the caller commits the decision.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    body::{Body, Sent, invalid},
    monitoring,
};
use crate::{
    answer::ArmError,
    instant,
    state::{Extension, Plan, Subscription, Tier, is_legacy, known_extensions},
    switches::{Switch, Switches},
};

/// Extensions whose provisioning assigns roles to an identity of the service.
const ASSIGNING: [&str; 3] = [
    "AgentlessVmScanning",
    "AgentlessDiscoveryForKubernetes",
    "ContainerRegistriesVulnerabilityAssessments",
];

/// What the decision depends on besides the body.
pub(super) struct PutContext<'a> {
    pub(super) plan: &'static str,
    pub(super) subscription: &'a Subscription,
    pub(super) switches: &'a Switches,
    pub(super) may_assign_roles: bool,
    /// Whether the caller is Owner of the subscription.
    pub(super) is_owner: bool,
    /// The workspace in the body, if it names one.
    pub(super) workspace: Option<Workspace>,
    pub(super) onboarding_elsewhere: bool,
    pub(super) now: Timestamp,
}

/// The workspace of file integrity monitoring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspace {
    /// Whether its subscription is one of the tenant.
    pub(super) exists: bool,
    /// Whether the caller is its Owner.
    pub(super) is_owned: bool,
}

/// The outcome of provisioning one extension; reported once, in the response to the PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Enabled,
    Disabled,
    AssigningFailed,
    /// The caller lacks another right than that to assign roles.
    RightMissing,
}

/// The resulting plan.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) plan: Plan,
    /// Properties to store, by key; `None` clears them.
    pub(super) properties: BTreeMap<String, Option<Map<String, Value>>>,
    pub(super) statuses: BTreeMap<String, Status>,
    pub(super) takes_direct_onboarding: bool,
}

pub(super) fn decide(put_context: &PutContext<'_>, body: &Body) -> Result<Decision, ArmError> {
    let before = put_context.subscription.plan(put_context.plan);
    if body.tier == Tier::Free {
        let sent = body
            .extensions
            .as_ref()
            .is_some_and(|extensions| !extensions.is_empty());
        if sent && !put_context.switches.flipped(Switch::ExtensionsWithFree) {
            return Err(invalid(&format!(
                "Extensions are not supported for '{}' plan with \"Free\" pricing tier",
                put_context.plan
            )));
        }
        let plan = Plan {
            free_trial_remaining_time: before.free_trial_remaining_time,
            ..Plan::default()
        };
        return Ok(Decision {
            plan,
            properties: BTreeMap::new(),
            statuses: BTreeMap::new(),
            takes_direct_onboarding: false,
        });
    }
    standard(put_context, body, &before)
}

fn standard(put_context: &PutContext<'_>, body: &Body, before: &Plan) -> Result<Decision, ArmError> {
    let sub_plan = sub_plan(put_context, body, before)?;
    let sent = body.extensions.as_deref().unwrap_or_default();
    check(put_context, sub_plan.as_deref(), sent)?;

    let changed = before.tier == Tier::Free || before.sub_plan != sub_plan;
    let keep = if changed {
        before.tier == Tier::Standard && put_context.switches.flipped(Switch::OmittedExtensionsOnChange)
    } else {
        !put_context.switches.flipped(Switch::OmittedExtensions)
    };
    let reads_enabled = !put_context.switches.flipped(Switch::FailedExtensionIsEnabled);
    let mut extensions = Vec::new();
    let mut statuses = BTreeMap::new();
    let mut properties = BTreeMap::new();
    let mut takes_direct_onboarding = false;
    for mut extension in Plan::default_extensions(put_context.plan, sub_plan.as_deref()) {
        let old = if before.tier == Tier::Standard {
            before.extension(&extension.name)
        } else {
            None
        };
        let asked = sent
            .iter()
            .find(|sent| sent.name.eq_ignore_ascii_case(&extension.name));
        match (asked, old) {
            (Some(asked), _) => {
                extension.enabled = asked.enabled;
                let key = Subscription::properties_key(put_context.plan, &extension.name);
                if let Some(given) = &asked.properties {
                    properties.insert(key.clone(), Some(merged(put_context, &key, given)));
                } else if asked.enabled && clears_unsent(put_context, &extension.name) {
                    properties.insert(key, None);
                }
            }
            (None, Some(old)) if keep => extension = old.clone(),
            (None, _) => {}
        }
        let on_before = old.is_some_and(|old| old.enabled);
        // A failed extension is tried again whenever the plan is written.
        let provisioned = extension.enabled && (!on_before || old.is_some_and(|old| old.failed));
        let refused = refused(put_context, &extension.name);
        extension.failed = provisioned && refused.is_some();
        if extension.name == "MdeDesignatedSubscription" && extension.enabled && !on_before {
            if put_context.onboarding_elsewhere
                && put_context.switches.flipped(Switch::SecondDirectOnboarding)
            {
                return Err(ArmError::new(
                    StatusCode::CONFLICT,
                    "Conflict",
                    "Another subscription of the tenant is already designated for direct onboarding",
                ));
            }
            takes_direct_onboarding = true;
        }
        let effective_before = old.is_some_and(|old| {
            put_context
                .subscription
                .effective(put_context.plan, old, reads_enabled)
        });
        let effective = put_context
            .subscription
            .effective(put_context.plan, &extension, reads_enabled);
        if let Some(refused) = refused.filter(|_| extension.failed) {
            statuses.insert(extension.name.clone(), refused);
        } else if provisioned || effective != effective_before {
            let status = if effective {
                Status::Enabled
            } else {
                Status::Disabled
            };
            statuses.insert(extension.name.clone(), status);
        }
        extensions.push(extension);
    }
    let plan = Plan {
        tier: Tier::Standard,
        sub_plan,
        enforce: body.enforce.unwrap_or(before.enforce),
        enablement_time: if before.tier == Tier::Free {
            Some(instant::ticks(put_context.now))
        } else {
            before.enablement_time.clone()
        },
        extensions,
        ..before.clone()
    };
    Ok(Decision {
        plan,
        properties,
        statuses,
        takes_direct_onboarding,
    })
}

/// What the service refuses before it changes anything.
fn check(put_context: &PutContext<'_>, sub_plan: Option<&str>, sent: &[Sent]) -> Result<(), ArmError> {
    if is_legacy(put_context.plan, sub_plan) {
        return Err(ArmError::bad_request(
            "InvalidInputError",
            format!(
                "The plan '{}' is deprecated and can no longer be enabled",
                put_context.plan
            ),
        ));
    }
    check_extensions(put_context.plan, sub_plan, sent)?;
    monitoring::check(
        put_context.subscription,
        put_context.plan,
        put_context.switches,
        sent,
    )?;
    if put_context.workspace.is_some_and(|workspace| !workspace.exists) {
        return Err(ArmError::bad_request(
            "InvalidInputError",
            "The workspace of extension 'FileIntegrityMonitoring' was not found",
        ));
    }
    Ok(())
}

/// Why the caller may not provision an extension.
fn refused(put_context: &PutContext<'_>, extension: &str) -> Option<Status> {
    match extension {
        _ if ASSIGNING.contains(&extension) => {
            (!put_context.may_assign_roles).then_some(Status::AssigningFailed)
        }
        "FileIntegrityMonitoring" => {
            let foreign = put_context.workspace.is_some_and(|workspace| !workspace.is_owned);
            foreign.then_some(Status::RightMissing)
        }
        "MdeDesignatedSubscription" => {
            let checked = !put_context.switches.flipped(Switch::DirectOnboardingWithoutOwner);
            (checked && !put_context.is_owner).then_some(Status::RightMissing)
        }
        _ => None,
    }
}

fn sub_plan(put_context: &PutContext<'_>, body: &Body, before: &Plan) -> Result<Option<String>, ArmError> {
    let full = Plan::full_sub_plan(put_context.plan);
    let Some(sent) = &body.sub_plan else {
        let stays =
            before.tier == Tier::Standard && put_context.switches.flipped(Switch::StandardWithoutSubPlan);
        return Ok(if stays {
            before.sub_plan.clone()
        } else {
            full.map(Into::into)
        });
    };
    if put_context.plan != "VirtualMachines" {
        return Ok(Some(sent.clone()));
    }
    ["P1", "P2"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(sent))
        .map(|known| Some(known.to_owned()))
        .ok_or_else(|| {
            invalid(&format!(
                "SubPlan \"{sent}\" is not supported for 'VirtualMachines' plan. Possible values: P1, P2"
            ))
        })
}

fn check_extensions(plan: &str, sub_plan: Option<&str>, sent: &[Sent]) -> Result<(), ArmError> {
    let known = known_extensions(plan, sub_plan);
    for (index, extension) in sent.iter().enumerate() {
        let name = &extension.name;
        if !known.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            let with = sub_plan.map_or_else(String::new, |sub_plan| format!(" and '{sub_plan}' SubPlan"));
            return Err(invalid(&format!(
                "Extension with name '{name}' is not supported for '{plan}' plan{with}"
            )));
        }
        if sent
            .iter()
            .take(index)
            .any(|earlier| earlier.name.eq_ignore_ascii_case(name))
        {
            return Err(invalid(&format!(
                "Extension with name \"{name}\" appears more than once"
            )));
        }
        let given = extension
            .properties
            .as_ref()
            .is_some_and(|properties| !properties.is_empty());
        if given && !extension.enabled {
            return Err(ArmError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                format!(
                    "AdditionalProperties of Extension '{name}' can't be updated while the extension is \
                     disabled (IsEnabled = False)"
                ),
            ));
        }
    }
    Ok(())
}

/// Whether an enabled extension that is sent without properties loses the stored ones. Recordings show that agentless
/// scanning keeps them.
fn clears_unsent(put_context: &PutContext<'_>, extension: &str) -> bool {
    extension != "AgentlessVmScanning" && put_context.switches.flipped(Switch::UnsentExtensionProperties)
}

fn merged(put_context: &PutContext<'_>, key: &str, given: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    if put_context.switches.flipped(Switch::ExtensionProperties) {
        all.extend(
            put_context
                .subscription
                .extension_properties
                .get(key)
                .cloned()
                .unwrap_or_default(),
        );
    }
    all.extend(given.clone());
    all
}

/// The extensions of a plan as they are in effect.
pub(super) fn effective(
    subscription: &Subscription,
    plan_name: &str,
    plan: &Plan,
    failed_reads_enabled: bool,
) -> Vec<(Extension, bool)> {
    plan.extensions
        .iter()
        .map(|extension| {
            (
                extension.clone(),
                subscription.effective(plan_name, extension, failed_reads_enabled),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::body::parse, *};
    use crate::answer::Answer;

    fn decide_on(
        subscription: &Subscription,
        switches: &Switches,
        body: &Value,
    ) -> Result<Decision, ArmError> {
        let put_context = PutContext {
            plan: "VirtualMachines",
            subscription,
            switches,
            may_assign_roles: true,
            is_owner: true,
            workspace: None,
            onboarding_elsewhere: false,
            now: Timestamp::UNIX_EPOCH,
        };
        decide(&put_context, &parse(body)?)
    }

    fn standard_p1() -> Subscription {
        let mut subscription = Subscription::new("s", "t", "S");
        let body = json!({"properties": {"pricingTier": "Standard", "subPlan": "P1"}});
        let decision = decide_on(&subscription, &Switches::default(), &body).unwrap();
        subscription.plans.insert("VirtualMachines".into(), decision.plan);
        subscription
    }

    fn code(result: Result<Decision, ArmError>) -> String {
        Answer::from(result.unwrap_err()).error_code().unwrap()
    }

    #[test]
    fn a_plan_without_sub_plan_is_the_full_one_with_its_defaults() {
        let subscription = Subscription::new("s", "t", "S");
        let body = json!({"properties": {"pricingTier": "standard"}});
        let decision = decide_on(&subscription, &Switches::default(), &body).unwrap();
        assert_eq!(decision.plan.sub_plan.as_deref(), Some("P2"));
        let on: Vec<_> = decision
            .plan
            .extensions
            .iter()
            .map(|extension| extension.enabled)
            .collect();
        assert_eq!(on, [false, true, false]);
        assert_eq!(
            decision.statuses,
            BTreeMap::from([("AgentlessVmScanning".into(), Status::Enabled)])
        );
    }

    #[test]
    fn omitted_sub_plan_on_p1_is_a_switch() {
        let body = json!({"properties": {"pricingTier": "Standard"}});
        let moved = decide_on(&standard_p1(), &Switches::default(), &body).unwrap();
        assert_eq!(moved.plan.sub_plan.as_deref(), Some("P2"));
        let stays = decide_on(&standard_p1(), &Switches::alternate(), &body).unwrap();
        assert_eq!(stays.plan.sub_plan.as_deref(), Some("P1"));
    }

    #[test]
    fn wrong_plans_are_refused() {
        let none = Subscription::new("s", "t", "S");
        let p2_on_p1 = json!({"properties": {"pricingTier": "Standard", "subPlan": "P1",
            "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False"}]}});
        assert_eq!(
            code(decide_on(&none, &Switches::default(), &p2_on_p1)),
            "InvalidInputJson"
        );
        let disabled = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2",
            "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False",
                            "additionalExtensionProperties": {"ExclusionTags": "[]"}}]}});
        assert_eq!(
            code(decide_on(&none, &Switches::default(), &disabled)),
            "InternalServerError"
        );
        let free = json!({"properties": {"pricingTier": "Free",
            "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False"}]}});
        assert_eq!(
            code(decide_on(&none, &Switches::default(), &free)),
            "InvalidInputJson"
        );
        assert!(decide_on(&none, &Switches::alternate(), &free).is_ok());
    }

    #[test]
    fn scanning_stays_on_while_another_plan_scans() {
        for name in ["CloudPosture", "Containers"] {
            let mut subscription = standard_p1();
            let other = Plan {
                tier: Tier::Standard,
                extensions: Plan::default_extensions(name, None),
                ..Plan::default()
            };
            subscription.plans.insert(name.into(), other);
            let body = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2",
                "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False"}]}});
            let decision = decide_on(&subscription, &Switches::default(), &body).unwrap();
            let shown = effective(&subscription, "VirtualMachines", &decision.plan, true);
            let scans = |(extension, on): &(Extension, bool)| extension.name == "AgentlessVmScanning" && *on;
            assert!(shown.iter().any(scans), "{name}");
        }
    }
}
