//! Health reports: what the sensors say of themselves, as Defender for Cloud shows it.

use serde_json::{Value, json};

use super::{
    machine::{Kind, Machine, Moment, NEVER, Sensor},
    names::{Cloud, State},
    os::Support,
    spelled,
};
use crate::state::{Subscription, Tier};

/// How often the reports are renewed.
const RENEWED: Moment = 4 * 3_600_000;

/// Only P2 has them, or P1 beside Defender CSPM.
pub(crate) fn offered(subscription: &Subscription) -> bool {
    let standard = |name: &str| subscription.plan(name).tier == Tier::Standard;
    standard("VirtualMachines")
        && (subscription.plan("VirtualMachines").sub_plan.as_deref() == Some("P2")
            || standard("CloudPosture"))
}

/// The machines with a report; pass the key after which to begin.
pub(crate) fn healths(
    subscription: &Subscription,
    after: String,
    at: Moment,
) -> impl Iterator<Item = (Box<str>, Value)> + '_ {
    let offered = offered(subscription);
    subscription
        .fleet
        .machines
        .iter()
        .filter(move |(key, _)| offered && ***key > *after)
        .filter_map(move |(key, machine)| Some((key.clone(), health(subscription, machine, at)?)))
}

/// The report of one machine, when it has one.
pub(crate) fn health(subscription: &Subscription, machine: &Machine, at: Moment) -> Option<Value> {
    if machine.kind == Kind::ScaleSet || !machine.exists(at) || !subscription.protects(machine) {
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
    let code = match (client, machine.sensor) {
        (true, _) => "NotApplicable",
        (false, Sensor::Healthy) => "Healthy",
        (false, Sensor::Unhealthy) => "NotHealthy",
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
    // One spelling in most reports, the other in some.
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
