//! The rows that a caller may see.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::history::History;
use crate::{
    arm::{connectors::connector_rows, machines::machine_rows, pricings::pricing_rows},
    query::{RowSource, Table},
    state::{Principal, Subscription, World},
};

/// The types of `resources` with the action that makes them visible.
const RESOURCES: [(&str, &str); 6] = [
    (
        "microsoft.compute/virtualmachines",
        "Microsoft.Compute/virtualMachines/read",
    ),
    (
        "microsoft.compute/virtualmachines/extensions",
        "Microsoft.Compute/virtualMachines/extensions/read",
    ),
    (
        "microsoft.compute/virtualmachinescalesets",
        "Microsoft.Compute/virtualMachineScaleSets/read",
    ),
    (
        "microsoft.hybridcompute/machines",
        "Microsoft.HybridCompute/machines/read",
    ),
    (
        "microsoft.hybridcompute/machines/extensions",
        "Microsoft.HybridCompute/machines/extensions/read",
    ),
    (CONNECTOR, "Microsoft.Security/securityConnectors/read"),
];
const CONNECTOR: &str = "microsoft.security/securityconnectors";
/// The same for `resourcecontainers`.
const CONTAINERS: [(&str, &str); 2] = [
    (SUBSCRIPTION, "Microsoft.Resources/subscriptions/read"),
    (GROUP, "Microsoft.Resources/subscriptions/resourceGroups/read"),
];
const SUBSCRIPTION: &str = "microsoft.resources/subscriptions";
const GROUP: &str = "microsoft.resources/subscriptions/resourcegroups";
/// The same for `securityresources`.
const SECURITY: [(&str, &str); 1] = [("microsoft.security/pricings", "Microsoft.Security/pricings/read")];

/// The view of a caller on some subscriptions at some time.
pub(super) struct Visible<'a> {
    pub(super) world: &'a World,
    pub(super) history: &'a History,
    pub(super) principal: &'a Principal,
    pub(super) subscriptions: &'a [String],
    pub(super) at: Timestamp,
}

impl RowSource for Visible<'_> {
    fn rows(&self, table: Table, types: Option<&[String]>, each: &mut dyn FnMut(Value)) {
        let known: &[(&str, &str)] = match table {
            Table::Resources => &RESOURCES,
            Table::Containers => &CONTAINERS,
            Table::Security => &SECURITY,
        };
        for id in self.subscriptions {
            // Check rights once for each subscription and type, not for each row.
            let shown: Vec<String> = known
                .iter()
                .filter(|(kind, _)| types.is_none_or(|types| types.iter().any(|expected| expected == kind)))
                .filter(|(_, action)| self.principal.may(id, action))
                .map(|(kind, _)| (*kind).to_owned())
                .collect();
            let Some(subscription) = self.subscription(id).filter(|_| !shown.is_empty()) else {
                continue;
            };
            let mut push = |mut row: Value| {
                if let Some(row) = row.as_object_mut() {
                    row.insert("subscriptionId".into(), json!(subscription.id));
                    row.insert("tenantId".into(), json!(subscription.tenant));
                }
                each(row);
            };
            match table {
                Table::Resources => {
                    // Machines store their own history, so the current state is read for that moment.
                    if let Some(current) = self.world.subscriptions.get(id) {
                        machine_rows(current, Some(&shown), self.at, &mut push);
                    }
                    if shown.iter().any(|kind| kind == CONNECTOR) {
                        connector_rows(subscription, self.at, &mut push);
                    }
                }
                Table::Containers => containers(self.world, subscription, &shown, &mut push),
                Table::Security => pricing_rows(self.world, subscription, &mut push),
            }
        }
    }
}

impl Visible<'_> {
    /// A subscription at the time that the index shows.
    fn subscription(&self, id: &str) -> Option<&Subscription> {
        let now = self.world.subscriptions.get(id)?;
        Some(self.history.at(id, self.at).unwrap_or(now))
    }
}

fn containers(world: &World, subscription: &Subscription, types: &[String], each: &mut dyn FnMut(Value)) {
    let scope = format!("/subscriptions/{}", subscription.id);
    if types.iter().any(|kind| kind == SUBSCRIPTION) {
        each(json!({
            "id": scope, "name": subscription.display_name, "type": SUBSCRIPTION, "tags": {},
            "properties": {"state": subscription.state, "managedByTenants": [],
                           "managementGroupAncestorsChain": ancestors(world, subscription),
                           "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01",
                                                    "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"}},
        }));
    }
    if types.iter().any(|kind| kind == GROUP) {
        for group in subscription.resource_groups.values() {
            each(json!({
                "id": format!("{scope}/resourceGroups/{}", group.name), "name": group.name, "type": GROUP,
                "location": group.location, "resourceGroup": group.name.to_lowercase(), "tags": group.tags,
                "properties": {"provisioningState": "Succeeded"},
            }));
        }
    }
}

/// The management groups above a subscription. The last one is the root, whose name is that of the tenant.
fn ancestors(world: &World, subscription: &Subscription) -> Vec<Value> {
    let group = |name: &str, display: &str| json!({"displayName": display, "name": name});
    let all = world.management_groups.iter();
    let parents = all.filter(|(_, members)| members.contains(&subscription.id));
    let root = group(&subscription.tenant, "Tenant Root Group");
    parents.map(|(name, _)| group(name, name)).chain([root]).collect()
}
