//! The body of a PUT: the result of a GET with the managed fields edited. No PATCH merges offerings (docs/azure-api.md
//! 4.2), so the body returns everything else as it was read: other offerings, other members and other tags, without
//! the members that only the service writes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use serverprotection_api::{Cloud, Tier};

use super::{
    changes::{reachable, tier_written},
    desired::{
        Desired, Field, OLD_SCANNER_ROLE, Offering, Place, SCANNER_ROLE, TIER, environment_name,
        environment_type,
    },
    expected::Expected,
    observed::{Connector, find, is_of_type},
};

/// Members of the resource that only the service writes.
const READ_ONLY: [&str; 6] = ["id", "name", "type", "apiVersion", "systemData", "etag"];

/// The full body to PUT. Suppressed fields keep their observed values.
pub fn body(desired: &Desired, actual: Option<&Connector>, suppressed: &BTreeSet<String>) -> Value {
    let cloud = desired.target.cloud;
    let mut body = match actual {
        Some(connector) => connector.body().clone(),
        None => Map::from_iter([("location".to_owned(), json!(desired.location))]),
    };
    strip(&mut body);
    edit(&mut body, "properties", |properties| {
        properties
            .entry("hierarchyIdentifier")
            .or_insert_with(|| json!(desired.target.account));
        properties
            .entry("environmentName")
            .or_insert_with(|| environment_name(cloud).into());
        edit(properties, "environmentData", |environment| {
            environment
                .entry("environmentType")
                .or_insert_with(|| environment_type(cloud).into());
        });
        keep_offerings(properties, desired, actual, suppressed);
    });
    for field in &desired.fields {
        let current = actual.and_then(|connector| connector.value(&field.place, cloud));
        let right = match field.value {
            Expected::Default(_) => current.is_some(),
            Expected::Hours(_) => current.is_some() && field.value.matches(current),
            _ => field.value.matches(current),
        };
        let ours = !suppressed.contains(&field.path) || is_forced(desired, actual, suppressed, field);
        if !right && ours && reachable(desired, actual, suppressed, field) {
            write(&mut body, cloud, field);
        }
    }
    Value::Object(body)
}

/// Removes the members that only the service writes.
fn strip(body: &mut Map<String, Value>) {
    for name in READ_ONLY {
        body.remove(name);
    }
    let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    properties.remove("hierarchyIdentifierTrialEndDate");
    for offering in offerings(properties).iter_mut().filter_map(Value::as_object_mut) {
        offering.remove("description");
    }
    let Some(environment) = properties
        .get_mut("environmentData")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    environment.remove("accountName");
    for (member, read_only) in [
        ("projectDetails", &["projectName", "workloadIdentityPoolId"][..]),
        ("organizationalData", &["organizationName"]),
    ] {
        if let Some(member) = environment.get_mut(member).and_then(Value::as_object_mut) {
            member.retain(|name, _| !read_only.contains(&name.as_str()));
        }
    }
}

/// Edits the member of this name as an object.
fn edit(of: &mut Map<String, Value>, name: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
    let mut member = match of.remove(name) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    edit(&mut member);
    of.insert(name.to_owned(), Value::Object(member));
}

/// Azure refuses P1 with agentless scanning, even while that field is suppressed (docs/azure-api.md 4.4).
fn is_forced(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<String>,
    field: &Field,
) -> bool {
    field.path == "agentlessScanning.state"
        && field.value == Expected::Flag(false)
        && tier_written(desired, actual, suppressed) == Some(Tier::P1)
}

fn offerings(properties: &mut Map<String, Value>) -> &mut [Value] {
    match properties.get_mut("offerings") {
        Some(Value::Array(offerings)) => offerings,
        _ => &mut [],
    }
}

/// Adds or removes the managed offerings. All others keep their place.
fn keep_offerings(
    properties: &mut Map<String, Value>,
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<String>,
) {
    let cloud = desired.target.cloud;
    let mut all = match properties.remove("offerings") {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    let servers = tier_written(desired, actual, suppressed) != Some(Tier::Free);
    for (offering, expected) in [(Offering::Cspm, true), (Offering::Servers, servers)] {
        let type_ = offering.azure_name(cloud);
        let is_it = |found: &Value| found.as_object().is_some_and(|found| is_of_type(found, type_));
        let there = all.iter().any(is_it);
        if expected && !there {
            all.push(json!({ "offeringType": type_ }));
        } else if !expected {
            all.retain(|found| !is_it(found));
        }
    }
    properties.insert("offerings".into(), Value::Array(all));
    if let Some(servers) = of_type(properties, Offering::Servers.azure_name(cloud)) {
        move_scanner_role(servers);
    }
}

fn of_type<'a>(properties: &'a mut Map<String, Value>, type_: &str) -> Option<&'a mut Map<String, Value>> {
    offerings(properties)
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .find(|found| is_of_type(found, type_))
}

/// The current api-version has the scanner's role beside `enabled`.
fn move_scanner_role(servers: &mut Map<String, Value>) {
    let Some(role) = find(servers, OLD_SCANNER_ROLE).cloned() else {
        return;
    };
    if find(servers, SCANNER_ROLE).is_none() {
        set(servers, SCANNER_ROLE, role);
    }
    remove(servers, OLD_SCANNER_ROLE);
}

fn write(body: &mut Map<String, Value>, cloud: Cloud, field: &Field) {
    match &field.place {
        Place::Tag(key) => edit(body, "tags", |tags| {
            let known = tags.keys().find(|name| name.eq_ignore_ascii_case(key)).cloned();
            if let Some(value) = field.value.wire() {
                tags.insert(known.unwrap_or_else(|| key.clone()), value);
            }
        }),
        Place::Environment(members) => edit(body, "properties", |properties| {
            edit(properties, "environmentData", |environment| {
                if field.value == Expected::Organization(false) {
                    // Without the membership, the other members of the organization have no meaning.
                    environment.remove("organizationalData");
                } else {
                    put(environment, members, field.value.wire());
                }
            });
        }),
        Place::Offering(offering, members) => edit(body, "properties", |properties| {
            // An absent offering has no members to write.
            if let Some(found) = of_type(properties, offering.azure_name(cloud)) {
                put(found, members, field.value.wire());
            }
        }),
    }
}

fn put(into: &mut Map<String, Value>, members: &[&str], value: Option<Value>) {
    match value {
        Some(value) => set(into, members, value),
        None => remove(into, members),
    }
}

fn set(into: &mut Map<String, Value>, members: &[&str], value: Value) {
    match members {
        [] => {}
        [last] => {
            into.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => edit(into, first, |member| set(member, rest, value)),
    }
}

fn remove(from: &mut Map<String, Value>, members: &[&str]) {
    match members {
        [] => {}
        [last] => {
            from.remove(*last);
        }
        [first, rest @ ..] => {
            if let Some(member) = from.get_mut(*first).and_then(Value::as_object_mut) {
                remove(member, rest);
            }
        }
    }
}

/// Whether the offering is absent because its tier is Free.
pub(super) fn is_free(field: &Field) -> bool {
    field.path == TIER && field.value == Expected::Tier(Tier::Free)
}
