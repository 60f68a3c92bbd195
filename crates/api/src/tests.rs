//! The definitions as they are installed: columns, defaults, and rules.

mod admission;
mod connectors;
mod definitions;
mod forms;
mod grants;
mod samples;
mod sizes;

use serde_json::{Value, json};

use crate::{AzureCredential, AzureCredentialSpec, ServerProtection, ServerProtectionSpec};

const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";
const WORKSPACE: &str = "/subscriptions/6f1c0d7e-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/law";

/// Merges `over` into `base`, member by member.
fn laid_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                laid_over(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn spec(over: Value) -> ServerProtectionSpec {
    let mut spec = json!({"subscriptionId": SUBSCRIPTION, "credentialRef": {"name": "platform"}, "plan": {"tier": "P2"}});
    laid_over(&mut spec, over);
    serde_json::from_value(spec).unwrap()
}

fn protection(over: Value) -> ServerProtection {
    ServerProtection::new("contoso-prod", spec(over))
}

fn credential(spec: Value) -> AzureCredential {
    let spec: AzureCredentialSpec = serde_json::from_value(spec).unwrap();
    AzureCredential::new("platform", spec)
}
