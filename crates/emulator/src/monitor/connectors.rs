//! Compares the parts of a connector that do not belong to the writer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::subject::{Stored, Subject};
use crate::{
    arm::Typed,
    state::{Connector, Subscription, offering_kind},
};

/// Members of the two servers offerings that their manager may change; `/` goes deeper, `/*` covers everything below.
const KNOWN: [&str; 20] = [
    "offeringType",
    "description",
    "nativeCloudConnection/cloudRoleArn",
    "nativeCloudConnection/serviceAccountEmailAddress",
    "nativeCloudConnection/workloadIdentityProviderId",
    "defenderForServers/cloudRoleArn",
    "defenderForServers/serviceAccountEmailAddress",
    "defenderForServers/workloadIdentityProviderId",
    "arcAutoProvisioning/enabled",
    "arcAutoProvisioning/cloudRoleArn",
    "arcAutoProvisioning/configuration/proxy",
    "arcAutoProvisioning/configuration/privateLinkScope",
    "mdeAutoProvisioning/enabled",
    "vaAutoProvisioning/enabled",
    "vaAutoProvisioning/configuration/type",
    "subPlan/type",
    "vmScanners/enabled",
    "vmScanners/cloudRoleArn",
    "vmScanners/configuration/scanningMode",
    "vmScanners/configuration/exclusionTags/*",
];

/// The same for the environment data.
const KNOWN_DATA: [&str; 11] = [
    "environmentType",
    "regions",
    "scanInterval",
    "projectDetails/projectNumber",
    "projectDetails/projectId",
    "organizationalData/organizationMembershipType",
    "organizationalData/stacksetName",
    "organizationalData/excludedAccountIds",
    "organizationalData/excludedProjectNumbers",
    "organizationalData/serviceAccountEmailAddress",
    "organizationalData/workloadIdentityProviderId",
];

/// The connectors that a route writes or reads. A missing connector has an empty content.
pub(super) fn stored(subscription: &Subscription, typed: &Typed, at: i64) -> Vec<Stored> {
    let group = typed.resource_group().map(str::to_ascii_lowercase);
    let make = |key: &str, connector: Option<&Connector>| Stored {
        subject: Subject {
            subscription: subscription.id.clone(),
            name: format!("connector/{key}"),
        },
        text: connector.map_or_else(
            || "null".into(),
            |connector| json!([connector.tags, connector.properties]).to_string(),
        ),
        tier: None,
        // Another caller with more rights may have to repeat the write.
        failed: connector.is_some_and(|connector| connector.unassigned),
        foreign: connector.map(foreign),
        member: connector.is_some_and(Connector::is_member),
    };
    match (&typed.name, group) {
        (Some(name), Some(group)) => {
            let key = Connector::key_of(&group, name);
            vec![make(&key, subscription.connector(&group, name, at))]
        }
        (None, group) => {
            let prefix = group.map_or_else(String::new, |group| Connector::key_of(&group, ""));
            subscription
                .connectors_at(at)
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, connector)| make(key, Some(connector)))
                .collect()
        }
        (Some(_), None) => Vec::new(),
    }
}

fn ours(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.starts_with("cspmmonitor") || kind.starts_with("defenderforservers")
}

/// The parts of others, by path: their offerings, and unknown members.
fn foreign(connector: &Connector) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for offering in connector.offerings() {
        let kind = offering_kind(offering).to_ascii_lowercase();
        if ours(&kind) {
            unexpected(offering, &KNOWN, &mut Vec::new(), &kind, &mut found);
        } else {
            found.insert(kind, offering.clone());
        }
    }
    for (name, value) in &connector.properties {
        match name.as_str() {
            "environmentData" => {
                unexpected(value, &KNOWN_DATA, &mut Vec::new(), "environmentData", &mut found);
            }
            "hierarchyIdentifier" | "environmentName" | "offerings" => {}
            _ => drop(found.insert(format!("properties/{name}"), value.clone())),
        }
    }
    found
}

/// Collects members that no known path covers.
fn unexpected(
    value: &Value,
    known: &[&str],
    path: &mut Vec<String>,
    head: &str,
    found: &mut BTreeMap<String, Value>,
) {
    for (name, value) in value.as_object().into_iter().flatten() {
        path.push(name.clone());
        let here = path.join("/");
        let covered = known.iter().any(|known| {
            *known == here
                || known
                    .strip_suffix("/*")
                    .is_some_and(|all| all == here || here.starts_with(&format!("{all}/")))
        });
        let deeper = known.iter().any(|known| known.starts_with(&format!("{here}/")));
        // An empty object equals an absent one.
        let nothing = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        if !covered && deeper {
            unexpected(value, known, path, head, found);
        } else if !covered && !nothing {
            found.insert(format!("{head}/{here}"), value.clone());
        }
        path.pop();
    }
}

/// The first foreign part that a write changed or removed. Members of a removed own offering may go.
pub(super) fn lost(before: &BTreeMap<String, Value>, after: &Stored, offerings: &[String]) -> Option<String> {
    let now = after.foreign.as_ref()?;
    before.iter().find_map(|(path, value)| {
        let head = path.split('/').next().unwrap_or_default();
        let withdrawn = path.contains('/') && ours(head) && !offerings.iter().any(|kind| kind == head);
        match now.get(path) {
            Some(same) if same == value => None,
            _ if withdrawn => None,
            Some(_) => Some(format!("{path} changed")),
            None => Some(format!("{path} removed")),
        }
    })
}

/// The types of the offerings in a body, in lower case.
pub(super) fn sent_offerings(body: &Value) -> Vec<String> {
    body.pointer("/properties/offerings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|offering| offering_kind(offering).to_ascii_lowercase())
        .collect()
}

/// A read-only member in a body.
pub(super) fn read_only_sent(body: &Value) -> Option<String> {
    const PLACES: [&str; 6] = [
        "/systemData",
        "/properties/hierarchyIdentifierTrialEndDate",
        "/properties/environmentData/accountName",
        "/properties/environmentData/projectDetails/projectName",
        "/properties/environmentData/projectDetails/workloadIdentityPoolId",
        "/properties/environmentData/organizationalData/organizationName",
    ];
    if let Some(place) = PLACES.into_iter().find(|place| body.pointer(place).is_some()) {
        return Some(place.trim_start_matches('/').replace('/', "."));
    }
    body.pointer("/properties/offerings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|offering| offering.get("description").is_some())
        .map(|offering| format!("description of {}", offering_kind(offering)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(offerings: &Value) -> Connector {
        let properties = json!({"hierarchyIdentifier": "1", "environmentName": "AWS", "surprise": 1,
            "environmentData": {"environmentType": "AwsAccount", "scanInterval": 4, "novelty": {"a": 1}},
            "offerings": offerings});
        Connector {
            name: "c".into(),
            group: "g".into(),
            location: "westeurope".into(),
            tags: serde_json::Map::new(),
            properties: properties.as_object().unwrap().clone(),
            since: 0,
            parent: None,
            unassigned: false,
            trial_end: None,
            created: Default::default(),
            modified: Default::default(),
        }
    }

    #[test]
    fn parts_of_others_are_found_by_path() {
        let found = foreign(&connector(&json!([
            {"offeringType": "CspmMonitorAws", "nativeCloudConnection": {"cloudRoleArn": "x"}},
            {"offeringType": "DefenderForServersAws", "subPlan": {"type": "P2", "grade": 3}, "extra": true,
             "mdeAutoProvisioning": {"enabled": true, "configuration": {}},
             "vmScanners": {"enabled": true, "configuration": {"exclusionTags": {"a": "b"}}}},
            {"offeringType": "DefenderCspmAws", "ciem": {}},
        ])));
        let paths: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "defendercspmaws",
                "defenderforserversaws/extra",
                "defenderforserversaws/subPlan/grade",
                "environmentData/novelty",
                "properties/surprise"
            ]
        );
    }
}
