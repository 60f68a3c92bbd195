//! Direct changes, written as dotted paths: `pricings.VirtualMachines.subPlan`, `settings.WDATP`, ...

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Assessment, Extension, Plan, RegistrationState, ResourceGroup, ResourcePlan, SETTINGS, Solution,
    Subscription, SubscriptionState, Tier, canonical_plan, connector_seed, machines,
};
use crate::instant;

/// Dotted paths with their new values.
pub type Patch = Map<String, Value>;

/// Plans by name, each with its members as `set` takes them.
pub(crate) type Pricings = BTreeMap<String, Map<String, Value>>;

/// Applies a patch as a whole.
///
/// # Errors
///
/// Returns a message with the path if a path or value is invalid; nothing is changed.
pub fn apply(subscription: &mut Subscription, patch: &Patch, now: Timestamp) -> Result<(), String> {
    let mut changed = subscription.clone();
    let mut paths: Vec<&String> = patch.keys().collect();
    // A tier sets its defaults, so it comes first and the finer paths after it.
    paths.sort_by_key(|path| match path.rsplit('.').next() {
        Some("pricingTier") => 0,
        Some("subPlan") => 1,
        _ => 2,
    });
    for path in paths {
        let value = patch.get(path).unwrap_or(&Value::Null);
        set(&mut changed, path, value, now).map_err(|problem| format!("{path}: {problem}"))?;
    }
    changed.settle(now);
    *subscription = changed;
    Ok(())
}

fn set(subscription: &mut Subscription, path: &str, value: &Value, now: Timestamp) -> Result<(), String> {
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    match head {
        "settings" => set_setting(subscription, rest, value),
        "pricings" => {
            let (name, rest) = rest.split_once('.').ok_or("expected pricings.NAME.MEMBER")?;
            let name = canonical_plan(name).ok_or("unknown plan")?;
            set_plan(subscription, name, rest, value, now)
        }
        "serverVulnerabilityAssessmentsSettings" => {
            if rest != "azureServersSetting" {
                return Err("unknown setting; the only one is azureServersSetting".into());
            }
            subscription.vulnerability_assessment =
                optional(value)?.map(|provider| assessment(provider, now));
            Ok(())
        }
        "providers" => {
            let state = RegistrationState::parse(text(value)?).ok_or("unknown registration state")?;
            subscription.register(rest, state, instant::epoch_milliseconds(now));
            Ok(())
        }
        "securityConnectors" => connector_seed::set(subscription, rest, value, now),
        "machines" => set_machine(subscription, rest, value, now),
        "resourcePricings" => set_resource_plan(subscription, rest, value, now),
        "resourceGroups" => {
            let location = optional(value)?;
            let key = rest.to_ascii_lowercase();
            match location {
                Some(location) => {
                    let group = ResourceGroup {
                        name: rest.into(),
                        location: location.into(),
                        tags: Map::new(),
                    };
                    subscription.resource_groups.insert(key, group);
                }
                None => drop(subscription.resource_groups.remove(&key)),
            }
            Ok(())
        }
        "workspaces" => {
            match optional(value)? {
                Some(location) => drop(subscription.workspaces.insert(rest.into(), location.into())),
                None => subscription
                    .workspaces
                    .retain(|id, _| !id.eq_ignore_ascii_case(rest)),
            }
            Ok(())
        }
        "solutions" => {
            let key = rest.to_ascii_lowercase();
            if value.is_null() {
                subscription.solutions.remove(&key);
            } else {
                subscription.solutions.insert(
                    key,
                    Solution {
                        id: rest.into(),
                        body: value.clone(),
                    },
                );
            }
            Ok(())
        }
        _ => set_own(subscription, path, value),
    }
}

fn set_own(subscription: &mut Subscription, path: &str, value: &Value) -> Result<(), String> {
    match path {
        "state" => {
            subscription.state = serde_json::from_value::<SubscriptionState>(value.clone())
                .map_err(|_| "expected Enabled, Disabled or Warned")?;
        }
        "displayName" => subscription.display_name = text(value)?.into(),
        "tenantId" => subscription.tenant = text(value)?.to_ascii_lowercase(),
        "registrationStuck" => subscription.registration_stuck = boolean(value)?,
        "denyPolicyAssignment" => subscription.deny_policy = optional(value)?.map(Into::into),
        "lockLevel" => {
            subscription.lock = match optional(value)? {
                level @ (None | Some("ReadOnly" | "CanNotDelete")) => level.map(Into::into),
                Some(_) => return Err("expected ReadOnly, CanNotDelete or null".into()),
            };
        }
        "integrationProfile" => match text(value)? {
            "legacy" => subscription.make_legacy(),
            "new" => subscription.legacy = false,
            _ => return Err("expected new or legacy".into()),
        },
        _ => return Err("unknown path; docs/emulator.md lists all paths".into()),
    }
    Ok(())
}

fn set_setting(subscription: &mut Subscription, name: &str, value: &Value) -> Result<(), String> {
    let (name, _) = SETTINGS
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .ok_or("unknown setting")?;
    let enabled = boolean(value)?;
    // Without the side effects of a PUT: only this field changes.
    let setting = subscription.settings.entry(name.into()).or_default();
    setting.turned_off = !enabled;
    setting.enabled = enabled;
    Ok(())
}

fn set_plan(
    subscription: &mut Subscription,
    name: &str,
    path: &str,
    value: &Value,
    now: Timestamp,
) -> Result<(), String> {
    if let Some(rest) = path.strip_prefix("extensions.") {
        return set_extension(subscription, name, rest, value);
    }
    let plan = subscription.plans.entry(name.into()).or_default();
    match path {
        "pricingTier" => {
            let tier = Tier::parse(text(value)?).ok_or("expected Free or Standard")?;
            if tier == Tier::Free {
                *plan = Plan::default();
            } else if plan.tier == Tier::Free {
                plan.tier = tier;
                plan.sub_plan = Plan::full_sub_plan(name).map(Into::into);
                plan.enablement_time = Some(instant::ticks(now));
                plan.extensions = Plan::default_extensions(name, plan.sub_plan.as_deref());
            }
        }
        "subPlan" => {
            let sub_plan = optional(value)?.map(str::to_owned);
            if plan.sub_plan != sub_plan {
                plan.extensions = Plan::default_extensions(name, sub_plan.as_deref());
                plan.sub_plan = sub_plan;
            }
        }
        "enforce" => plan.enforce = boolean(value)?,
        "enablementTime" => plan.enablement_time = optional(value)?.map(Into::into),
        "freeTrialRemainingTime" => plan.free_trial_remaining_time = optional(value)?.map(Into::into),
        "resourcesCoverageStatus" => plan.resources_coverage_status = optional(value)?.map(Into::into),
        "managedBy" => plan.managed_by = optional(value)?.map(Into::into),
        _ => return Err("unknown member of a plan".into()),
    }
    Ok(())
}

fn set_extension(
    subscription: &mut Subscription,
    plan: &str,
    path: &str,
    value: &Value,
) -> Result<(), String> {
    let (name, member) = path.split_once('.').unwrap_or((path, ""));
    let extensions = &mut subscription.plans.entry(plan.into()).or_default().extensions;
    if member.is_empty() && value.is_null() {
        extensions.retain(|extension| !extension.name.eq_ignore_ascii_case(name));
        return Ok(());
    }
    if !extensions
        .iter()
        .any(|extension| extension.name.eq_ignore_ascii_case(name))
    {
        extensions.push(Extension {
            name: name.into(),
            enabled: false,
            failed: false,
        });
    }
    let Some(extension) = extensions
        .iter_mut()
        .find(|known| known.name.eq_ignore_ascii_case(name))
    else {
        return Ok(());
    };
    match member {
        "" | "isEnabled" => {
            extension.enabled = boolean(value)?;
            extension.failed = false;
        }
        "operationStatus" => {
            let code = value.get("code").unwrap_or(&Value::Null);
            extension.failed = operation_failed(code)?;
        }
        "operationStatus.code" => extension.failed = operation_failed(value)?,
        member => {
            let properties = member
                .strip_prefix("additionalExtensionProperties")
                .ok_or("unknown member of a plan extension")?;
            let key = Subscription::properties_key(plan, &extension.name);
            let stored = subscription.extension_properties.entry(key).or_default();
            match (properties.strip_prefix('.'), value) {
                (None, Value::Null) => stored.clear(),
                (None, Value::Object(all)) => stored.clone_from(all),
                (None, _) => return Err("expected an object or null".into()),
                (Some(property), Value::Null) => drop(stored.remove(property)),
                (Some(property), value) => drop(stored.insert(property.into(), value.clone())),
            }
        }
    }
    Ok(())
}

fn set_resource_plan(
    subscription: &mut Subscription,
    id: &str,
    value: &Value,
    now: Timestamp,
) -> Result<(), String> {
    let key = format!("/{}", id.trim_matches('/').to_ascii_lowercase());
    let (tier, sub_plan) = match optional(value)? {
        None => {
            subscription.resource_plans.remove(&key);
            return Ok(());
        }
        Some(free) if free.eq_ignore_ascii_case("free") => (Tier::Free, None),
        Some(sub_plan) => (Tier::Standard, Some(sub_plan.to_owned())),
    };
    let enablement_time = (tier == Tier::Standard).then(|| instant::ticks(now));
    subscription.resource_plans.insert(
        key,
        ResourcePlan {
            tier,
            sub_plan,
            enablement_time,
        },
    );
    Ok(())
}

/// `null` deletes; an object creates or changes the machine.
fn set_machine(
    subscription: &mut Subscription,
    name: &str,
    value: &Value,
    now: Timestamp,
) -> Result<(), String> {
    match value {
        Value::Null => {
            machines::remove(subscription, name, now);
            Ok(())
        }
        Value::Object(members) if machines::shown(subscription, Some(name), now).is_some() => {
            machines::set(subscription, name, members, now)
        }
        Value::Object(members) => {
            let mut members = members.clone();
            members.entry("name").or_insert_with(|| Value::from(name));
            machines::add(subscription, &Value::Object(members), false, now).map(drop)
        }
        _ => Err("expected an object or null".into()),
    }
}

/// Plans as dotted paths.
pub(crate) fn flatten_pricings(patch: &mut Patch, pricings: &Pricings) -> Result<(), String> {
    pricings
        .iter()
        .try_for_each(|(name, plan)| flatten_plan(patch, &format!("pricings.{name}"), plan))
}

/// `{pricingTier, subPlan, extensions: {NAME: …} or [{name, …}]}` as dotted paths.
fn flatten_plan(patch: &mut Patch, head: &str, plan: &Map<String, Value>) -> Result<(), String> {
    for (member, value) in plan {
        if member != "extensions" {
            patch.insert(format!("{head}.{member}"), value.clone());
            continue;
        }
        let pairs: Vec<(String, &Value)> = match value {
            Value::Object(named) => named.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(list) => list
                .iter()
                .filter_map(|item| Some((item.get("name")?.as_str()?.to_owned(), item)))
                .collect(),
            _ => return Err(format!("{head}.extensions: expected a list or an object")),
        };
        for (name, extension) in pairs {
            let place = format!("{head}.extensions.{name}");
            let Some(members) = extension.as_object() else {
                patch.insert(place, extension.clone());
                continue;
            };
            for (member, value) in members.iter().filter(|(member, _)| *member != "name") {
                patch.insert(format!("{place}.{member}"), value.clone());
            }
        }
    }
    Ok(())
}

fn assessment(provider: &str, now: Timestamp) -> Assessment {
    Assessment {
        selected_provider: provider.into(),
        created_by: "user@contoso.com".into(),
        created_at: instant::milliseconds(now),
        last_modified_by: "user@contoso.com".into(),
        last_modified_at: instant::milliseconds(now),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "expected a string".into())
}

fn optional(value: &Value) -> Result<Option<&str>, String> {
    if value.is_null() {
        Ok(None)
    } else {
        text(value).map(Some)
    }
}

/// Whether the last operation on an extension failed, by the code of its status.
fn operation_failed(code: &Value) -> Result<bool, String> {
    match text(code)? {
        "Failed" => Ok(true),
        "Succeeded" => Ok(false),
        _ => Err("expected Succeeded or Failed".into()),
    }
}

/// A boolean as JSON or as the service's string.
fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: &Value) -> Result<Subscription, String> {
        let mut subscription = Subscription::new("s", "t", "S");
        apply(
            &mut subscription,
            patch.as_object().unwrap(),
            Timestamp::UNIX_EPOCH,
        )?;
        Ok(subscription)
    }

    #[test]
    fn tier_brings_defaults_and_finer_paths_win() {
        let subscription = patched(&json!({
            "pricings.VirtualMachines.extensions.AgentlessVmScanning.isEnabled": "False",
            "pricings.VirtualMachines.extensions.AgentlessVmScanning.additionalExtensionProperties.ExclusionTags": "[]",
            "pricings.VirtualMachines.pricingTier": "Standard", "pricings.VirtualMachines.subPlan": "P2",
            "providers.Microsoft.Security": "NotRegistered",
        }))
        .unwrap();
        let plan = subscription.plan("VirtualMachines");
        assert_eq!(plan.sub_plan.as_deref(), Some("P2"));
        assert_eq!(plan.extensions.len(), 3);
        assert!(!plan.extension("AgentlessVmScanning").unwrap().enabled);
        assert_eq!(
            subscription.extension_properties["AgentlessVmScanning"]["ExclusionTags"],
            "[]"
        );
        assert_eq!(
            subscription.registration("microsoft.security", 0, 0),
            RegistrationState::NotRegistered
        );
    }

    #[test]
    fn a_wrong_path_changes_nothing() {
        let mut subscription = Subscription::new("s", "t", "S");
        let patch = json!({"state": "Disabled", "settings.Nope": true});
        let problem = apply(
            &mut subscription,
            patch.as_object().unwrap(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap_err();
        assert!(problem.contains("settings.Nope"));
        assert_eq!(subscription.state, SubscriptionState::Enabled);
    }
}
