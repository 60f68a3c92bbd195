//! The requests. Each is a GET, or a query of Resource Graph.

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::reading::ReadResult;

use super::Raw;
use crate::{
    arm::{Arm, Call, Limits},
    quota::Quota,
    resource_graph::{Page, Query},
    resources::{
        assessment, permissions, pricings, registration, security_connectors, settings, subscription,
    },
    response::LARGEST_PAGE,
    throttled::Budget,
};

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) name: &'static str,
    pub(super) api_version: &'static str,
    /// Whether the operator sends it, too.
    pub(super) needed: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A resource below the subscription.
    Resource(&'static [&'static str]),
    /// A list below the subscription.
    List(&'static [&'static str]),
    /// A resource of the tenant.
    Tenant(&'static [&'static str]),
    /// The first page of a query of Resource Graph.
    Graph(&'static str),
    /// A query that also names a subscription that does not exist.
    GraphWithUnknown(&'static str),
    /// The machine of [`arc_machine`].
    Machine,
}

const SECURITY: &str = "Microsoft.Security";
const GRAPH: &str = "2024-04-01";
const PROVIDERS: &str = "2021-04-01";
/// The version of the machine that is read directly (docs/azure-api.md 6.3).
const MACHINE: &str = "2025-01-13";
/// No subscription has this id.
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

const fn read(name: &'static str, api_version: &'static str, kind: Kind) -> Read {
    Read {
        name,
        api_version,
        needed: true,
        kind,
    }
}

const fn extra(name: &'static str, api_version: &'static str, kind: Kind) -> Read {
    Read {
        needed: false,
        ..read(name, api_version, kind)
    }
}

/// All items are held in memory, because points are judged by the whole list.
const LIMITS: Limits = Limits {
    total: 8 * LARGEST_PAGE,
    ..Limits::LONG
};

/// Extensions of machines that protect them, by what can differ.
const EXTENSIONS: &str = "resources
| where type in~ ('microsoft.compute/virtualmachines/extensions', 'microsoft.hybridcompute/machines/extensions')
| where tostring(properties.publisher) =~ 'Microsoft.Azure.AzureDefenderForServers'
| extend mde = tostring(properties.type), state = tostring(properties.provisioningState), unified = tostring(properties.settings.vNextEnabled)
| summarize count() by type, mde, state, unified";
/// Systems of the machines.
const SYSTEMS: &str = "resources
| where type =~ 'microsoft.hybridcompute/machines'
| extend os = tostring(properties.osSku)
| summarize count() by os";
const SETTINGS: &str = "securityresources
| where type =~ 'microsoft.security/settings'
| summarize count() by type";
const MACHINES: &str = "resources
| where type =~ 'microsoft.hybridcompute/machines'
| project id
| order by id asc
| limit 100";
const MACHINES_WITH_EXTENSIONS: &str = "resources
| where type =~ 'microsoft.hybridcompute/machines/extensions'
| project id
| order by id asc";

const READS: [Read; 19] = [
    read("subscription", "2022-12-01", Kind::Resource(&[])),
    read(
        "registration",
        PROVIDERS,
        Kind::Resource(&["providers", SECURITY]),
    ),
    extra(
        "registration of HybridCompute",
        PROVIDERS,
        Kind::Resource(&["providers", "Microsoft.HybridCompute"]),
    ),
    extra(
        "registration of GuestConfiguration",
        PROVIDERS,
        Kind::Resource(&["providers", "Microsoft.GuestConfiguration"]),
    ),
    extra(
        "registration of HybridConnectivity",
        PROVIDERS,
        Kind::Resource(&["providers", "Microsoft.HybridConnectivity"]),
    ),
    read(
        "permissions",
        "2022-04-01",
        Kind::List(&["providers", "Microsoft.Authorization", "permissions"]),
    ),
    read(
        "plan",
        "2024-01-01",
        Kind::Resource(&["providers", SECURITY, "pricings", "VirtualMachines"]),
    ),
    extra(
        "plan of 2026-07-01",
        "2026-07-01",
        Kind::Resource(&["providers", SECURITY, "pricings", "VirtualMachines"]),
    ),
    extra(
        "plans",
        "2024-01-01",
        Kind::Resource(&["providers", SECURITY, "pricings"]),
    ),
    read(
        "settings",
        "2022-05-01",
        Kind::List(&["providers", SECURITY, "settings"]),
    ),
    read(
        "assessment",
        "2023-05-01",
        Kind::Resource(&[
            "providers",
            SECURITY,
            "serverVulnerabilityAssessmentsSettings",
            "azureServersSetting",
        ]),
    ),
    read(
        "connectors",
        "2024-08-01-preview",
        Kind::List(&["providers", SECURITY, "securityConnectors"]),
    ),
    read(
        "health reports",
        "2023-05-01-preview",
        Kind::List(&["providers", SECURITY, "healthReports"]),
    ),
    extra(
        "actions",
        "2022-04-01",
        Kind::Tenant(&[
            "providers",
            "Microsoft.Authorization",
            "providerOperations",
            SECURITY,
        ]),
    ),
    extra("extensions", GRAPH, Kind::Graph(EXTENSIONS)),
    extra("systems", GRAPH, Kind::Graph(SYSTEMS)),
    extra("settings in Resource Graph", GRAPH, Kind::Graph(SETTINGS)),
    extra("unknown subscription", GRAPH, Kind::GraphWithUnknown(SETTINGS)),
    extra("Arc machines", GRAPH, Kind::Graph(MACHINES)),
];

#[cfg(test)]
impl Read {
    /// A request that is not sent.
    pub(super) fn test(name: &'static str) -> Self {
        extra(name, GRAPH, Kind::Machine)
    }
}

/// Sends all requests, one after the other: there is no hurry, and Azure counts them.
pub(super) async fn all(arm: &Arm, subscription: &str) -> Raw {
    let quota = Quota::default();
    let mut raw = Raw::default();
    for read in READS {
        let answer = send(arm, &quota, &read, subscription).await;
        raw.0.push((read, answer));
    }
    let read = extra(
        "Arc machines with extensions",
        GRAPH,
        Kind::Graph(MACHINES_WITH_EXTENSIONS),
    );
    let answer = send(arm, &quota, &read, subscription).await;
    raw.0.push((read, answer));
    raw
}

/// Reads an Arc machine without extensions, if the answers name one.
pub(super) async fn arc_machine(arm: &Arm, raw: &Raw) -> Option<(Read, ReadResult<Value>)> {
    let id = without_extensions(raw)?;
    let path: Vec<_> = id.split('/').filter(|segment| !segment.is_empty()).collect();
    let [_, subscription, ..] = path.as_slice() else {
        return None;
    };
    let read = extra("Arc machine without extensions", MACHINE, Kind::Machine);
    let answer = arm
        .call(&call(&read, &path, Budget::Subscription(subscription)))
        .await;
    Some((read, answer))
}

/// The id of an Arc machine without extensions.
pub(super) fn without_extensions(raw: &Raw) -> Option<String> {
    let ids = |name: &str| {
        let rows = raw.get(name)?.as_ref().ok()?.as_array()?;
        let id = |row: &Value| Some(row.get("id")?.as_str()?.to_lowercase());
        Some(rows.iter().filter_map(id).collect::<Vec<_>>())
    };
    let with = ids("Arc machines with extensions")?;
    let has = |machine: &String| {
        with.iter()
            .any(|extension| extension.starts_with(&format!("{machine}/")))
    };
    let found = ids("Arc machines")?.into_iter().find(|machine| !has(machine))?;
    // A path that could lead elsewhere is not requested.
    let is_plain = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
    found
        .trim_start_matches('/')
        .split('/')
        .all(is_plain)
        .then_some(found)
}

async fn send(arm: &Arm, quota: &Quota, read: &Read, subscription: &str) -> ReadResult<Value> {
    let of_subscription = |rest: &[&'static str]| [&["subscriptions", subscription][..], rest].concat();
    let budget = Budget::Subscription(subscription);
    match read.kind {
        Kind::Resource(path) => arm.call(&call(read, &of_subscription(path), budget)).await,
        Kind::List(path) => {
            let items = arm
                .list_within(&call(read, &of_subscription(path), budget), LIMITS)
                .await?;
            Ok(Value::Array(items))
        }
        Kind::Tenant(path) => arm.call(&call(read, path, Budget::Tenant)).await,
        Kind::Graph(text) => graph(arm, quota, text, &[subscription]).await,
        Kind::GraphWithUnknown(text) => graph(arm, quota, text, &[subscription, UNKNOWN]).await,
        Kind::Machine => Ok(json!(null)),
    }
}

impl Read {
    /// Judges an answer as the operator does: what it cannot use is an error.
    pub(super) fn judge(&self, answer: &Value) -> ReadResult<()> {
        let items = answer.as_array().map_or(&[][..], Vec::as_slice);
        match self.name {
            "subscription" => subscription::read(answer).map(drop),
            "registration" => registration::read(self.name, answer).map(drop),
            "permissions" => permissions::read(items).map(drop),
            "plan" => pricings::read_plan(self.name, answer).map(drop),
            "settings" => settings::read(items).map(drop),
            "assessment" => assessment::read(answer).map(drop),
            "connectors" => security_connectors::check_list(items),
            // A health report that cannot be read affects its machine only. The others are not the operator's.
            _ => Ok(()),
        }
    }
}

fn call<'a>(read: &Read, path: &'a [&'a str], budget: Budget<'a>) -> Call<'a> {
    Call {
        method: Method::GET,
        operation: read.name,
        budget,
        path,
        api_version: read.api_version,
        body: None,
        timeout: None,
        permit: None,
    }
}

async fn graph(arm: &Arm, quota: &Quota, text: &str, subscriptions: &[&str]) -> ReadResult<Value> {
    let query = Query {
        operation: "POST resources (check)",
        text,
        subscriptions: Some(subscriptions),
        top: 1000,
        skip_token: None,
    };
    let page: Page<Value> = arm.query(quota.reserve().await, &query).await?;
    Ok(Value::Array(page.rows))
}
