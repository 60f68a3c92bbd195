//! The body of a PUT: the result of a GET with the managed fields edited. No PATCH merges offerings (docs/azure-api.md
//! 4.2), so the body returns everything else as it was read: other offerings, other members and other tags, without
//! the members that only the service writes.

use serde_json::{Map, Value, json};
use serverprotection_api::{Cloud, Tier};
use serverprotection_core::security_connector::{
    desired::Target,
    expected::Expected,
    field::ConnectorField,
    write::{ConnectorWrite, FieldWrite},
};

use super::place::{
    Form, Members, OLD_SCANNER_ROLE, Offering, Place, SCANNER_ROLE, default_member, environment_name,
    environment_type, find, place,
};

/// Members of the resource that only the service writes.
const READ_ONLY: [&str; 6] = ["id", "name", "type", "apiVersion", "systemData", "etag"];

/// The full body to PUT. `None` if the connector was not read by [`super::parse`]: without its response, the PUT would
/// remove what is not managed.
pub(super) fn body(target: &Target, write: &ConnectorWrite) -> Option<Value> {
    let cloud = target.cloud;
    let mut body = match &write.current {
        Some(response) => response.get::<Map<String, Value>>()?.clone(),
        None => Map::from_iter([("location".to_owned(), json!(write.location))]),
    };
    strip(&mut body);
    edit(&mut body, "properties", |properties| {
        properties
            .entry("hierarchyIdentifier")
            .or_insert_with(|| json!(target.account));
        properties
            .entry("environmentName")
            .or_insert_with(|| environment_name(cloud).into());
        edit(properties, "environmentData", |environment| {
            environment
                .entry("environmentType")
                .or_insert_with(|| environment_type(cloud).into());
        });
        keep_offerings(properties, cloud, write.servers);
    });
    for field in &write.fields {
        if field.changes {
            set_field(&mut body, cloud, field);
        }
        if field.value == Expected::Flag(true) {
            add_default_member(&mut body, cloud, &field.field);
        }
    }
    Some(Value::Object(body))
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

fn offerings(properties: &mut Map<String, Value>) -> &mut [Value] {
    match properties.get_mut("offerings") {
        Some(Value::Array(offerings)) => offerings,
        _ => &mut [],
    }
}

/// Adds or removes the managed offerings. All others keep their place.
fn keep_offerings(properties: &mut Map<String, Value>, cloud: Cloud, servers: bool) {
    let mut all = match properties.remove("offerings") {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    for (offering, expected) in [(Offering::Cspm, true), (Offering::Servers, servers)] {
        let is_it = |found: &Value| found.as_object().is_some_and(|found| offering.is(cloud, found));
        let there = all.iter().any(is_it);
        if expected && !there {
            all.push(json!({ "offeringType": offering.type_(cloud) }));
        } else if !expected {
            all.retain(|found| !is_it(found));
        }
    }
    properties.insert("offerings".into(), Value::Array(all));
    if let Some(servers) = managed(properties, Offering::Servers, cloud) {
        move_scanner_role(servers);
    }
}

fn managed(
    properties: &mut Map<String, Value>,
    offering: Offering,
    cloud: Cloud,
) -> Option<&mut Map<String, Value>> {
    offerings(properties)
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .find(|found| offering.is(cloud, found))
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

fn set_field(body: &mut Map<String, Value>, cloud: Cloud, field: &FieldWrite) {
    let (place, form) = place(&field.field);
    let value = json_of(form, &field.value);
    match place {
        Place::Tag(key) => edit(body, "tags", |tags| {
            let known = tags.keys().find(|name| name.eq_ignore_ascii_case(key)).cloned();
            if let Some(value) = value {
                tags.insert(known.unwrap_or_else(|| key.to_owned()), value);
            }
        }),
        Place::Environment(members) => edit(body, "properties", |properties| {
            edit(properties, "environmentData", |environment| {
                if form == Form::Membership && value.is_none() {
                    // Without the membership, the other members of the organization have no meaning.
                    environment.remove("organizationalData");
                } else {
                    put(environment, members, value);
                }
            });
        }),
        Place::Offering(offering, members) => edit(body, "properties", |properties| {
            // An absent offering has no members to write.
            if let Some(found) = managed(properties, offering, cloud) {
                put(found, members, value);
            }
        }),
    }
}

fn add_default_member(body: &mut Map<String, Value>, cloud: Cloud, field: &ConnectorField) {
    let Some((members, value)) = default_member(field) else {
        return;
    };
    edit(body, "properties", |properties| {
        let servers = managed(properties, Offering::Servers, cloud);
        if let Some(servers) = servers.filter(|servers| find(servers, members).is_none()) {
            set(servers, members, value);
        }
    });
}

/// The value as it is sent; `None` if the member is absent.
fn json_of(form: Form, value: &Expected) -> Option<Value> {
    match value {
        Expected::Flag(on) if form == Form::Membership => on.then(|| "Organization".into()),
        Expected::Flag(on) => Some((*on).into()),
        Expected::Tier(Tier::Free) | Expected::Cleared => None,
        Expected::Tier(Tier::P1) => Some("P1".into()),
        Expected::Tier(Tier::P2) => Some("P2".into()),
        Expected::Word(text) | Expected::Text(text) | Expected::ResourceId(text) => Some(text.clone().into()),
        Expected::Hours(hours) => Some((*hours).into()),
        Expected::Set(entries, _) => (!entries.is_empty()).then(|| json!(entries)),
        Expected::Tags(tags) => (!tags.is_empty()).then(|| json!(tags)),
    }
}

fn put(into: &mut Map<String, Value>, members: Members, value: Option<Value>) {
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
