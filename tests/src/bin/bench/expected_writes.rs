//! The number of writes that a subscription needs, computed from its state before the controller starts. An
//! independent implementation: it shares nothing with the operator.

use serde_json::{Value, json};

/// The spec of every object, without subscription and credential.
pub(crate) fn spec() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}

/// Number of plan, settings and assessment writes from the state of a subscription (`GET
/// /_emulator/subscriptions/{id}`) to [`spec`] with its defaults: integration with both opt-ins, and vulnerability
/// assessment.
pub(crate) fn writes(state: &Value) -> u64 {
    let text = |pointer: &str| state.pointer(pointer).and_then(Value::as_str);
    let setting = |name: &str| {
        state
            .pointer(&format!("/settings/{name}"))
            .and_then(Value::as_bool)
            == Some(true)
    };
    let plan_fits = text("/pricings/VirtualMachines/pricingTier") == Some("Standard")
        && text("/pricings/VirtualMachines/subPlan") == Some("P2")
        && text("/pricings/VirtualMachines/extensions/AgentlessVmScanning/isEnabled") == Some("True");
    let from_free = text("/pricings/VirtualMachines/pricingTier") != Some("Standard");

    // Enabling the plan from Free also enables the integration, and the integration enables the unified solution on a
    // subscription that was not integrated before 2022. The operator does not write those.
    let integration_comes = from_free;
    let unified_comes = from_free && !setting("WDATP") && text("/integrationProfile") != Some("legacy");
    let integration = !setting("WDATP") && !integration_comes;
    let unified = !setting("WDATP_UNIFIED_SOLUTION") && !unified_comes;
    let linux = setting("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW");
    let assessment = text("/serverVulnerabilityAssessmentsSettings/azureServersSetting") != Some("MdeTvm");
    [!plan_fits, integration, unified, linux, assessment]
        .into_iter()
        .map(u64::from)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_and_a_legacy_subscription() {
        let off = json!({"WDATP": false, "WDATP_UNIFIED_SOLUTION": false, "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW": false});
        let free = json!({"VirtualMachines": {"pricingTier": "Free"}});
        let new = json!({"integrationProfile": "new", "pricings": free, "settings": off,
            "serverVulnerabilityAssessmentsSettings": {"azureServersSetting": null}});
        assert_eq!(writes(&new), 2, "plan, assessment");
        let buttons = json!({"WDATP": true, "WDATP_UNIFIED_SOLUTION": false, "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW": true});
        let legacy = json!({"integrationProfile": "legacy", "pricings": free, "settings": buttons});
        assert_eq!(writes(&legacy), 4, "plan, unified solution, Linux, assessment");
    }

    #[test]
    fn a_subscription_that_fits_needs_nothing() {
        let on = json!({"WDATP": true, "WDATP_UNIFIED_SOLUTION": true});
        let plan = json!({"pricingTier": "Standard", "subPlan": "P2",
            "extensions": {"AgentlessVmScanning": {"isEnabled": "True"}}});
        let state = json!({"integrationProfile": "new", "pricings": {"VirtualMachines": plan}, "settings": on,
            "serverVulnerabilityAssessmentsSettings": {"azureServersSetting": "MdeTvm"}});
        assert_eq!(writes(&state), 0);
    }
}
