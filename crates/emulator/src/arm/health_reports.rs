//! `Microsoft.Security/healthReports`: the health of sensors and connectors as Defender for Cloud reports it.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Call, Typed, machines, refusals};
use crate::{
    answer::{Answer, ArmError},
    state::{
        Cloud as OtherCloud, Connector, Subscription, Tier,
        machines::{Cloud, HealthReport, Kind, Machine, Moment, NEVER, State, Support, guid, mixed, spelled},
        problems,
    },
};

const TYPE: &str = "Microsoft.Security/healthReports";
/// The version whose reports have no nested objects.
const FLAT: &str = "2023-02-01-preview";

/// Moves the members of the nested objects up.
fn flatten(report: &mut Value) {
    let Some(properties) = report.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for name in [
        "resourceDetails",
        "environmentDetails",
        "healthDataClassification",
        "status",
    ] {
        if let Some(Value::Object(nested)) = properties.remove(name) {
            let nested = nested.into_iter().map(|(name, value)| match name.as_str() {
                "id" => ("resourceId".to_owned(), value),
                "code" => ("status".to_owned(), value),
                _ => (name, value),
            });
            properties.extend(nested);
        }
    }
}

pub(super) fn answer(call: &Call<'_>, typed: &Typed) -> Result<Answer, ArmError> {
    if call.request.method != Method::GET {
        return Err(refusals::no_method(call.request.method.as_str(), TYPE));
    }
    let subscription = call.subscription()?;
    let at = subscription.fleet_now(call.now);
    let found: Box<dyn Iterator<Item = (Box<str>, Value)>> = if typed.depth > 4 {
        machines::check_group(call, typed)?;
        let (space, of, name) = (
            call.request.segment(5),
            call.request.segment(6),
            call.request.segment(7),
        );
        let report = if super::connectors::TYPE.eq_ignore_ascii_case(&format!("{space}/{of}")) {
            let connector = super::connectors::found(call, typed, name)?;
            Some((connector.key(), connector_report(subscription, connector, at)))
        } else {
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.full_type().eq_ignore_ascii_case(&format!("{space}/{of}")))
                .ok_or_else(|| refusals::no_route("GET", &call.request.path()))?;
            let machine = machines::machine(call, typed, kind, name, at)?;
            machine_report(subscription, machine, at).map(|report| (machine.key(), report))
        };
        Box::new(report.map(|(key, report)| (Box::from(key), report)).into_iter())
    } else {
        let after = machines::skipped(call)?;
        let group = typed
            .resource_group()
            .map(|group| format!("/{}/", group.to_ascii_lowercase()));
        Box::new(
            reports(subscription, after, at)
                .filter(move |(key, _)| group.as_ref().is_none_or(|group| key.contains(group.as_str()))),
        )
    };
    if let Some(name) = &typed.name {
        return found
            .map(|(_, report)| report)
            .find(|report| {
                report["name"]
                    .as_str()
                    .is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .map(Answer::ok)
            .ok_or_else(|| refusals::resource_not_found(TYPE, name, typed.resource_group()));
    }
    let flat = call.version() == FLAT;
    let mut items = Vec::new();
    let mut last = None;
    for (key, mut report) in found {
        if flat {
            flatten(&mut report);
        }
        if items.len() == machines::PAGE {
            return Ok(machines::page(call, items, last));
        }
        items.push(report);
        last = Some(key.to_string());
    }
    Ok(machines::page(call, items, None))
}

/// How often the reports are renewed.
const RENEWED: Moment = 4 * 3_600_000;

/// Requires P2, or P1 with Defender CSPM; of the connector, else of the subscription.
fn offered(subscription: &Subscription, machine: &Machine) -> bool {
    if let Some(connector) = subscription.connector_of(machine) {
        return connector.reports();
    }
    let standard = |name: &str| {
        let plan = subscription.plans.get(name);
        plan.filter(|plan| plan.tier == Tier::Standard)
    };
    standard("VirtualMachines")
        .is_some_and(|plan| plan.sub_plan.as_deref() == Some("P2") || standard("CloudPosture").is_some())
}

/// The machines and connectors with a report; `after` is the key after which to begin.
fn reports(
    subscription: &Subscription,
    after: String,
    at: Moment,
) -> impl Iterator<Item = (Box<str>, Value)> + '_ {
    let beyond = after.clone();
    let machines = subscription
        .fleet
        .machines
        .iter()
        .filter(move |(key, _)| ***key > *after)
        .filter_map(move |(key, machine)| Some((key.clone(), machine_report(subscription, machine, at)?)));
    // Connectors sort after the machines, whose keys begin with earlier letters.
    let connectors = subscription
        .connectors_at(at)
        .filter_map(move |(key, connector)| {
            let key: Box<str> = format!("x/{key}").into();
            (*key > *beyond).then(|| (key, connector_report(subscription, connector, at)))
        });
    machines.chain(connectors)
}

/// The report of a connector: whether the service can still log in to the account.
fn connector_report(subscription: &Subscription, connector: &Connector, at: Moment) -> Value {
    let problems = problems(connector, &subscription.clouds);
    let resource = connector.id(&subscription.id);
    let hash = |salt: u64| {
        let start = 0x6a09_e667_f3bc_c908 ^ salt;
        resource
            .bytes()
            .fold(start, |hash, byte| mixed(hash ^ u64::from(byte)))
    };
    let name = guid(hash(1), hash(2));
    let changed = subscription.clouds.changed(connector).max(connector.since);
    let organization = connector.organizational();
    let member = |name: &str| organization.and_then(|data| data.get(name)).cloned();
    let stack_set = member("stacksetName").map_or_else(|| json!({}), |name| json!({"StacksetName": name}));
    let native = match connector.cloud() {
        Some(OtherCloud::Aws) => format!("arn:aws:iam::{}:root", connector.account()),
        _ => connector.account().to_owned(),
    };
    let issues: Vec<Value> = problems
        .iter()
        .zip(3_u64..)
        .map(|(problem, salt)| {
            json!({
                "issueKey": guid(hash(salt), hash(!salt)), "issueName": problem.name,
                "issueDescription": problem.description, "securityValues": [connector.account()],
                "remediationSteps": problem.remedy, "remediationScript": "", "issueAdditionalData": stack_set,
            })
        })
        .collect();
    let source = match connector.cloud() {
        Some(OtherCloud::Aws) => "Aws",
        Some(OtherCloud::Gcp) => "Gcp",
        None => "Azure",
    };
    let plans = if connector.servers().is_some() {
        json!(["DefenderForServers"])
    } else {
        json!([])
    };
    json!({
        "id": format!("{resource}/providers/Microsoft.Security/healthReports/{name}"), "name": name,
        "type": "Microsoft.Security/healthReports",
        "properties": {
            "resourceDetails": {"source": source, "id": resource, "connectorId": guid(hash(98), hash(99))},
            "environmentDetails": {
                "nativeResourceId": native, "environmentHierarchyId": connector.account(),
                "organizationalHierarchyId": member("parentHierarchyId").unwrap_or_else(|| json!(connector.account())),
                "subscriptionId": subscription.id, "tenantId": subscription.tenant,
            },
            "healthDataClassification": {"component": "Connectivity", "scenario": "Connectivity", "scope": "Connectors"},
            "status": {"code": if problems.is_empty() { "Healthy" } else { "NotHealthy" },
                       "statusChangeDate": spelled(changed), "firstEvaluationDate": spelled(connector.since),
                       "lastScannedDate": spelled((at - at.rem_euclid(RENEWED)).max(changed)),
                       "reason": problems.first().map_or("", |problem| problem.name)},
            "affectedDefendersPlans": plans, "affectedDefendersSubPlans": [], "issues": issues,
            "reportAdditionalData": {},
        },
    })
}

/// The report of one machine, if it has one.
fn machine_report(subscription: &Subscription, machine: &Machine, at: Moment) -> Option<Value> {
    if machine.kind == Kind::ScaleSet
        || !machine.exists(at)
        || !subscription.protects(machine)
        || !offered(subscription, machine)
    {
        return None;
    }
    let client = machine.os.get().support == Support::Client;
    let since = machine
        .extensions(at)
        .filter(|ext| ext.is_mde() && ext.state(at) == State::Succeeded)
        .map(|ext| ext.done)
        .min()
        .or(client.then_some(machine.born))
        .filter(|since| *since != NEVER)?;
    let code = match (client, machine.health_report) {
        (true, _) => "NotApplicable",
        (false, HealthReport::Healthy) => "Healthy",
        (false, HealthReport::NotHealthy) => "NotHealthy",
    };
    let issues = if code == "NotHealthy" {
        json!([{
            "issueKey": machine.guid(&subscription.id, 5), "issueName": "No heartbeat",
            "issueDescription": "The sensor on this machine has not reported for a week.", "securityValues": [],
            "remediationSteps": "Check that the machine reaches the service, then restart the sensor.",
            "remediationScript": "", "issueAdditionalData": {},
        }])
    } else {
        json!([])
    };
    // Most reports use one spelling, some the other.
    let scanned = if machine.hash(&subscription.id, 4).is_multiple_of(8) {
        "lastTimeScannedDate"
    } else {
        "lastScannedDate"
    };
    let resource = machine.id(&subscription.id);
    let name = machine.guid(&subscription.id, 4);
    let source = match machine.agent.as_ref().map(|agent| &agent.cloud) {
        None | Some(Cloud::Azure) => "Azure",
        Some(Cloud::Aws) => "Aws",
        Some(Cloud::Gcp) => "Gcp",
        Some(Cloud::OnPremises | Cloud::Other(_)) => "OnPremise",
    };
    Some(json!({
        "id": format!("{resource}/providers/Microsoft.Security/healthReports/{name}"), "name": name,
        "type": "Microsoft.Security/healthReports",
        "properties": {
            "resourceDetails": {"source": source, "id": resource},
            "environmentDetails": {
                "nativeResourceId": resource, "environmentHierarchyId": subscription.id,
                "organizationalHierarchyId": subscription.tenant, "subscriptionId": subscription.id,
                "tenantId": subscription.tenant,
            },
            "healthDataClassification": {"component": "MDE", "scenario": "Reporting", "scope": "VirtualMachines"},
            "status": {"code": code, "statusChangeDate": spelled(since), "firstEvaluationDate": spelled(since),
                       scanned: spelled((at - at.rem_euclid(RENEWED)).max(since)),
                       "reason": if code == "NotHealthy" { "The sensor sends no heartbeat" } else { "" }},
            "affectedDefendersPlans": ["DefenderForServers"], "affectedDefendersSubPlans": [], "issues": issues,
            "reportAdditionalData": {},
        },
    }))
}
