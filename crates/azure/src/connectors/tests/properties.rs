//! Properties of merge and comparison, over generated specs and connectors.

mod specs;

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};
use serde_json::{Map, Value, json};
use serverprotection_api::{Cloud, SecurityConnectorSpec, Tier};
use serverprotection_core::security_connector::{
    changes::{changes, differences},
    desired::{Desired, Row},
    expected::{Expected, ObservedValue},
    field::ConnectorField,
    observed::Connector,
    value::ConnectorPath,
};

use super::{
    super::{
        parse,
        place::{OLD_SCANNER_ROLE, Offering, Place, default_member, find, place},
    },
    samples::{answered, body_of, laid_over, protection, response},
};
use specs::{some, specs, words};

/// `PROPTEST_CASES` sets the number of cases; nothing is written to disk.
fn config() -> Config {
    let config = Config::default();
    Config {
        cases: config.cases / 2,
        failure_persistence: None,
        ..config
    }
}

fn desired(spec: &SecurityConnectorSpec) -> Desired {
    Desired::of("c", spec, &protection(Tier::P2))
}

fn created(desired: &Desired) -> Connector {
    let body = body_of(desired, None, &BTreeSet::new());
    answered(&desired.target.id(), &body)
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        "[a-zA-Z]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let name = select(vec![
            "description",
            "enabled",
            "configuration",
            "id",
            "new",
            "name",
        ]);
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec((name, inner), 0..3).prop_map(|members| {
                let named = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(named.collect())
            }),
        ]
    })
}

/// What other clients have added to a connector: offerings, tags, and members everywhere.
fn foreign() -> impl Strategy<Value = (Vec<Value>, Value, Vec<Value>)> {
    let types = select(vec![
        "DefenderCspmAws",
        "DefenderForContainersGcp",
        "DefenderForDatabasesAws",
        "NotInventedYet",
    ]);
    let offering = (types, anything(), anything()).prop_map(|(type_, a, b)| {
        json!({"offeringType": type_, "description": "read-only", "vmScanners": a, "subPlan": b})
    });
    let tags = some(vec![
        ("theirs", words(&["1", "2"])),
        ("TEAM", words(&["1", "2"])),
        ("Ours", words(&["1"])),
    ]);
    (vec(offering, 0..3), tags, vec(anything(), 5))
}

/// A connector that matches another spec, with additions of other clients.
fn actual(cloud: Cloud) -> impl Strategy<Value = Connector> {
    (specs(cloud), foreign(), any::<bool>()).prop_map(move |(spec, (offerings, tags, members), old_place)| {
        let connector = created(&desired(&spec));
        let mut body = Value::Object(response(&connector).clone());
        body["tags"] = tags;
        body["unknown"] = members[0].clone();
        let properties = &mut body["properties"];
        properties["unknown"] = members[1].clone();
        properties["environmentData"]["unknown"] = members[2].clone();
        let all = properties["offerings"].as_array_mut().unwrap();
        for offering in all.iter_mut() {
            offering["unknown"] = members[3].clone();
            laid_over(
                offering,
                json!({"arcAutoProvisioning": {"configuration": {"unknown": members[4]}}}),
            );
            let role = offering["vmScanners"].get("cloudRoleArn").cloned();
            if let (true, Some(role)) = (old_place, role) {
                offering["vmScanners"]
                    .as_object_mut()
                    .unwrap()
                    .remove("cloudRoleArn");
                offering["vmScanners"]["configuration"]["cloudRoleArn"] = role;
            }
            if offering["vmScanners"].is_null() {
                offering.as_object_mut().unwrap().remove("vmScanners");
            }
        }
        all.splice(0..0, offerings);
        parse::connector(body).unwrap()
    })
}

fn pairs() -> impl Strategy<Value = (SecurityConnectorSpec, Connector)> {
    prop_oneof![
        (specs(Cloud::AWS), actual(Cloud::AWS)),
        (specs(Cloud::GCP), actual(Cloud::GCP)),
    ]
}

fn forget(from: &mut Value, members: &[&str]) {
    match members {
        [] => {}
        [last] => {
            if let Some(from) = from.as_object_mut() {
                from.remove(*last);
            }
        }
        [first, rest @ ..] => {
            if let Some(member) = from.get_mut(*first) {
                forget(member, rest);
            }
        }
    }
}

/// Removes empty objects, which appear and disappear with their members.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().map(|(name, value)| (name, pruned(value)));
            Value::Object(kept.filter(|(_, value)| *value != json!({})).collect())
        }
        other => other,
    }
}

/// Everything that is neither managed nor read-only.
fn others_share(body: &Map<String, Value>, desired: &Desired) -> Value {
    let mut body = Value::Object(body.clone());
    for name in ["id", "name", "type", "apiVersion", "systemData", "etag"] {
        forget(&mut body, &[name]);
    }
    forget(&mut body, &["properties", "hierarchyIdentifierTrialEndDate"]);
    let cloud = desired.target.cloud;
    let properties = &mut body["properties"];
    let environment = &mut properties["environmentData"];
    for path in [
        &["accountName"][..],
        &["projectDetails", "projectName"],
        &["projectDetails", "workloadIdentityPoolId"],
        &["organizationalData"],
    ] {
        forget(environment, path);
    }
    let ours = |type_: &str| {
        let all = [Offering::Cspm, Offering::Servers];
        all.into_iter().find(|offering| offering.type_(cloud) == type_)
    };
    for row in &desired.fields {
        if let Place::Environment(members) = place(&row.field).0 {
            forget(environment, members);
        }
    }
    let mut rest = Vec::new();
    for mut offering in properties["offerings"].as_array().cloned().unwrap_or_default() {
        forget(&mut offering, &["description"]);
        let type_ = offering["offeringType"].as_str().unwrap_or_default().to_owned();
        let Some(ours) = ours(&type_) else {
            rest.push(offering);
            continue;
        };
        for row in &desired.fields {
            match place(&row.field).0 {
                Place::Offering(offering_of, members) if offering_of == ours => {
                    forget(&mut offering, members);
                }
                _ => {}
            }
            let default = default_member(&row.field).filter(|_| row.value == Expected::Flag(true));
            if let Some((members, _)) = default {
                forget(&mut offering, members);
            }
        }
        forget(&mut offering, &["vmScanners", "cloudRoleArn"]);
        forget(&mut offering, OLD_SCANNER_ROLE);
        let offering = pruned(offering);
        let left_out = ours == Offering::Servers && desired.tier == Tier::Free;
        // This write added a managed offering that consists of its type only.
        if !left_out && offering.as_object().unwrap().len() > 1 {
            rest.push(offering);
        }
    }
    properties["offerings"] = Value::Array(rest);
    let mine = |key: &str| {
        let mut rows = desired.fields.iter();
        rows.any(|row| matches!(&row.field, ConnectorField::Tag(ours) if ours.eq_ignore_ascii_case(key)))
    };
    if let Some(tags) = body.get_mut("tags").and_then(Value::as_object_mut) {
        tags.retain(|key, _| !mine(key));
    }
    pruned(body)
}

fn assert_no_read_only(body: &Value) {
    let body = body.as_object().unwrap();
    for name in ["id", "name", "type", "apiVersion", "systemData", "etag"] {
        assert!(!body.contains_key(name), "{name}");
    }
    for path in [
        &["properties", "hierarchyIdentifierTrialEndDate"][..],
        &["properties", "environmentData", "accountName"],
        &["properties", "environmentData", "projectDetails", "projectName"],
        &[
            "properties",
            "environmentData",
            "projectDetails",
            "workloadIdentityPoolId",
        ],
        &[
            "properties",
            "environmentData",
            "organizationalData",
            "organizationName",
        ],
    ] {
        assert!(find(body, path).is_none(), "{path:?}");
    }
    for offering in body["properties"]["offerings"].as_array().unwrap() {
        assert!(offering.get("description").is_none());
    }
}

/// Asserts that the body contains every managed field.
fn assert_complete(desired: &Desired, body: &Value) {
    let connector = parse::connector(body.clone()).unwrap();
    let cloud = desired.target.cloud;
    assert_eq!(connector.account, desired.target.account);
    assert_eq!(connector.cloud, Some(cloud));
    let offering = |of: Offering| {
        let mut all = body["properties"]["offerings"].as_array().unwrap().iter();
        all.find_map(|it| it.as_object().filter(|it| of.is(cloud, it)))
    };
    assert!(offering(Offering::Cspm).is_some());
    assert_eq!(connector.tier, Some(desired.tier));
    for row in desired
        .fields
        .iter()
        .filter(|row| row.value != Expected::Tier(Tier::Free))
    {
        let found = connector.value(&row.field);
        assert!(row.value.matches(found), "{:?}: {found:?}", row.field);
        let default = default_member(&row.field).filter(|_| row.value == Expected::Flag(true));
        if let Some((members, _)) = default {
            let member = find(offering(Offering::Servers).unwrap(), members);
            assert!(member.is_some(), "{members:?}");
        }
    }
}

fn word(value: &mut Value, members: &[&str], spell: &dyn Fn(&str) -> String) {
    let pointer = format!("/{}", members.join("/"));
    match value.pointer_mut(&pointer) {
        Some(Value::String(text)) => *text = spell(text),
        Some(Value::Array(entries)) => {
            entries.reverse();
            for entry in entries {
                *entry = json!(spell(entry.as_str().unwrap_or_default()));
            }
        }
        _ => {}
    }
}

/// The same connector in another spelling: Azure returns case and order as a client sent them.
fn respelled(body: &Map<String, Value>, upper: bool) -> Connector {
    let spell = |text: &str| {
        if upper {
            text.to_uppercase()
        } else {
            text.to_lowercase()
        }
    };
    let mut body = Value::Object(body.clone());
    if let Some(tags) = body.get_mut("tags").and_then(Value::as_object_mut) {
        let renamed = std::mem::take(tags)
            .into_iter()
            .map(|(key, value)| (spell(&key), value));
        *tags = renamed.collect();
    }
    let properties = &mut body["properties"];
    properties["offerings"].as_array_mut().unwrap().reverse();
    for path in [
        &["environmentName"][..],
        &["environmentData", "environmentType"],
        &[
            "environmentData",
            "organizationalData",
            "organizationMembershipType",
        ],
        &["environmentData", "organizationalData", "excludedAccountIds"],
        &["environmentData", "regions"],
    ] {
        word(properties, path, &spell);
    }
    for offering in properties["offerings"].as_array_mut().unwrap() {
        for path in [
            &["offeringType"][..],
            &["subPlan", "type"],
            &["vaAutoProvisioning", "configuration", "type"],
            &["arcAutoProvisioning", "configuration", "privateLinkScope"],
        ] {
            word(offering, path, &spell);
        }
    }
    parse::connector(body).unwrap()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_not_ours_survives_every_write((spec, actual) in pairs()) {
        let desired = desired(&spec);
        let body = body_of(&desired, Some(&actual), &BTreeSet::new());
        prop_assert_eq!(
            others_share(body.as_object().unwrap(), &desired),
            others_share(response(&actual), &desired)
        );
    }

    #[test]
    fn a_write_holds_the_whole_intent_and_nothing_read_only((spec, actual) in pairs()) {
        let desired = desired(&spec);
        for actual in [None, Some(&actual)] {
            let body = body_of(&desired, actual, &BTreeSet::new());
            assert_complete(&desired, &body);
            assert_no_read_only(&body);
        }
    }

    #[test]
    fn one_write_is_enough((spec, actual) in pairs()) {
        let desired = desired(&spec);
        let none = BTreeSet::new();
        let body = body_of(&desired, Some(&actual), &none);
        let after = answered(&desired.target.id(), &body);
        prop_assert_eq!(differences(&desired, Some(&after)), Vec::new());
        prop_assert!(changes(&desired, Some(&after), &none).is_empty());
        prop_assert_eq!(body_of(&desired, Some(&parse::connector(body.clone()).unwrap()), &none), body);
    }

    #[test]
    fn spelling_and_order_are_no_change((spec, actual) in pairs(), upper: bool) {
        let desired = desired(&spec);
        let none = BTreeSet::new();
        let body = body_of(&desired, Some(&actual), &none);
        let other = respelled(body.as_object().unwrap(), upper);
        prop_assert_eq!(differences(&desired, Some(&other)), Vec::new());
        prop_assert!(changes(&desired, Some(&other), &none).is_empty());
    }

    #[test]
    fn suppressed_fields_stay((spec, actual) in pairs(), picks in vec(any::<bool>(), 40)) {
        let desired = desired(&spec);
        let picked = desired.fields.iter().zip(&picks).filter(|(_, pick)| **pick);
        let left: BTreeSet<_> = picked.map(|(row, _)| ConnectorPath::from(&row.field)).collect();
        let body = body_of(&desired, Some(&actual), &left);
        let after = parse::connector(body.clone()).unwrap();
        assert_no_read_only(&body);
        // A tier can remove members of the offering, and a membership those of the organization.
        let goes = |row: &&Row| {
            let tier = row.field.is_of_servers() && after.tier != actual.tier;
            let path = row.field.path();
            tier || path.contains(".organization") || path == "agentlessScanning.state"
        };
        let stays = desired.fields.iter().filter(|row| left.contains(&ConnectorPath::from(&row.field)) && !goes(row));
        for Row { field, .. } in stays {
            prop_assert_eq!(after.value(field), actual.value(field), "{:?}", field);
            let json = |connector| parse::value_at(response(connector), actual.cloud, place(field).0).cloned();
            prop_assert_eq!(json(&after), json(&actual), "{:?}", field);
        }
        if left.contains(&ConnectorPath::Field(ConnectorField::Tier)) {
            prop_assert_eq!(after.tier, actual.tier);
        }
        let scans = after.value(&ConnectorField::AgentlessState) == Some(&ObservedValue::Flag(true));
        prop_assert!(after.tier != Some(Tier::P1) || !scans);
        // A difference that a write cannot repair is no reason to write.
        for change in changes(&desired, Some(&actual), &left) {
            let stays = differences(&desired, Some(&after));
            for field in change.fields {
                prop_assert!(!stays.contains(&field), "{field:?}");
            }
        }
    }

    #[test]
    fn no_response_of_azure_panics(answer in anything(), spec in specs(Cloud::AWS)) {
        let desired = desired(&spec);
        let answer = json!({"properties": {"environmentData": answer, "offerings": [answer, {"offeringType": "cspmmonitoraws", "nativeCloudConnection": answer}]}, "tags": answer});
        let actual = parse::connector(answer).unwrap();
        let body = body_of(&desired, Some(&actual), &BTreeSet::new());
        assert_complete(&desired, &body);
        prop_assert_eq!(differences(&desired, parse::connector(body).as_ref()), Vec::new());
    }
}
