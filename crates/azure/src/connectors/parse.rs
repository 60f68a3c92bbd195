//! Reads a connector from Azure's JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serverprotection_api::{Cloud, Tier};
use serverprotection_core::security_connector::{
    account::Membership,
    expected::ObservedValue,
    field::ConnectorField,
    observed::{Connector, Response},
};

use super::place::{Form, OLD_SCANNER_ROLE, Offering, Place, SCANNER_ROLE, cloud_named, find, place};

/// Parses a response; `None` if it is not a JSON object.
pub(crate) fn connector(answer: Value) -> Option<Connector> {
    let Value::Object(body) = answer else {
        return None;
    };
    let properties = body.get("properties").and_then(Value::as_object);
    let text = |members: &[&str]| find(properties?, members)?.as_str();
    let environment = text(&["environmentName"]).unwrap_or_default().to_owned();
    let cloud = cloud_named(&environment);
    let location = body.get("location").and_then(Value::as_str);
    Some(Connector {
        id: body.get("id").and_then(Value::as_str).unwrap_or_default().into(),
        location: location.map(|location| location.replace(' ', "").to_lowercase()),
        account: match properties.and_then(|properties| find(properties, &["hierarchyIdentifier"])) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        },
        account_name: text(&["environmentData", "accountName"])
            .or_else(|| text(&["environmentData", "projectDetails", "projectName"]))
            .map(str::to_owned),
        membership: membership(text),
        trial_end: text(&["hierarchyIdentifierTrialEndDate"]).and_then(|end| end.parse().ok()),
        tier: cloud.and_then(|cloud| tier(properties, cloud)),
        values: values(&body, cloud),
        environment,
        cloud,
        response: Response::new(body),
    })
}

fn membership<'a>(text: impl Fn(&[&str]) -> Option<&'a str>) -> Membership {
    let member = |name: &str| text(&["environmentData", "organizationalData", name]);
    match member("organizationMembershipType") {
        Some(word) if word.eq_ignore_ascii_case("Organization") => Membership::Organization,
        Some(word) if word.eq_ignore_ascii_case("Member") => Membership::Member {
            parent: member("parentHierarchyId").map(str::to_owned),
            management: member("managementProjectNumber").map(str::to_owned),
        },
        _ => Membership::Single,
    }
}

fn tier(properties: Option<&Map<String, Value>>, cloud: Cloud) -> Option<Tier> {
    let Some(servers) = offering(properties, Offering::Servers, cloud) else {
        return Some(Tier::Free);
    };
    let word = find(servers, &["subPlan", "type"])?.as_str()?;
    [("P1", Tier::P1), ("P2", Tier::P2)]
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, tier)| tier)
}

fn offering(
    properties: Option<&Map<String, Value>>,
    offering: Offering,
    cloud: Cloud,
) -> Option<&Map<String, Value>> {
    let all = properties?.get("offerings")?.as_array()?;
    all.iter()
        .filter_map(Value::as_object)
        .find(|found| offering.is(cloud, found))
}

/// The fields that have a value.
fn values(body: &Map<String, Value>, cloud: Option<Cloud>) -> BTreeMap<ConnectorField, ObservedValue> {
    let tags = body.get("tags").and_then(Value::as_object).into_iter();
    let tags = tags.flat_map(Map::keys).cloned().map(ConnectorField::Tag);
    let fields = tags.chain(ConnectorField::ALL.iter().cloned());
    fields
        .filter_map(|field| {
            let (place, form) = place(&field);
            let value = observed(form, value_at(body, cloud, place)?)?;
            Some((field, value))
        })
        .collect()
}

pub(super) fn value_at<'a>(
    body: &'a Map<String, Value>,
    cloud: Option<Cloud>,
    place: Place<'_>,
) -> Option<&'a Value> {
    match place {
        Place::Tag(key) => find(body, &["tags", key]),
        Place::Environment(members) => find(
            find(body, &["properties", "environmentData"])?.as_object()?,
            members,
        ),
        Place::Offering(of, members) => {
            let properties = body.get("properties").and_then(Value::as_object);
            let found = offering(properties, of, cloud?)?;
            // The scanner's role may still be in its place of the api-version 2023-10-01-preview and earlier.
            let old_place = || find(found, OLD_SCANNER_ROLE).filter(|_| members == SCANNER_ROLE);
            find(found, members).or_else(old_place)
        }
    }
}

/// The value, if it is not null.
fn observed(form: Form, value: &Value) -> Option<ObservedValue> {
    if value.is_null() {
        return None;
    }
    let text = value.as_str();
    let is = |word: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(word));
    let read = match form {
        Form::Flag => Some(ObservedValue::Flag(value.as_bool().unwrap_or_else(|| is("true")))),
        Form::Membership => Some(ObservedValue::Flag(is("Organization"))),
        Form::Text => None,
        Form::Hours => {
            let number = value
                .as_i64()
                .or_else(|| text.and_then(|text| text.trim().parse().ok()));
            number.map(ObservedValue::Hours)
        }
        Form::Set => value.as_array().and_then(|entries| {
            let entries = entries.iter().map(|entry| entry.as_str().map(str::to_lowercase));
            entries.collect::<Option<_>>().map(ObservedValue::Set)
        }),
        Form::Tags => value.as_object().and_then(|members| {
            let tags = members
                .iter()
                .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            tags.collect::<Option<_>>().map(ObservedValue::Tags)
        }),
    };
    // A text, or a value of another form.
    let plain = || match text {
        Some(text) => ObservedValue::Text(text.to_owned()),
        None => ObservedValue::Other(value.to_string()),
    };
    Some(read.unwrap_or_else(plain))
}
