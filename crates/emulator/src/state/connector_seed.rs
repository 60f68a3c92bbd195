//! Connectors with the members of a seed: seeds, and direct changes (`securityConnectors.NAME…`).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Connector, Subscription, connector::kind, machines};
use crate::instant;

type Members = Map<String, Value>;

/// A user, for `systemData`.
const USER: &str = "user@contoso.com";

/// Creates a connector or replaces one, without a login to the other cloud.
pub(crate) fn add(subscription: &mut Subscription, members: &Members, now: Timestamp) -> Result<(), String> {
    const KNOWN: [&str; 13] = [
        "name",
        "resourceGroup",
        "location",
        "tags",
        "age",
        "hierarchyIdentifier",
        "environmentName",
        "projectId",
        "organizationalData",
        "serversSubPlan",
        "offerings",
        "environmentData",
        "properties",
    ];
    let word = |name: &str| members.get(name).and_then(Value::as_str);
    let name = word("name")
        .filter(|name| !name.is_empty())
        .ok_or("a connector without name")?;
    if let Some(unknown) = members.keys().find(|member| !KNOWN.contains(&member.as_str())) {
        return Err(format!(
            "{name}: unknown member '{unknown}'; known members: {}",
            KNOWN.join(", ")
        ));
    }
    let account = word("hierarchyIdentifier")
        .ok_or_else(|| format!("{name}: hierarchyIdentifier: expected a string"))?;
    let environment = word("environmentName").unwrap_or("AWS");
    let project = word("projectId").map_or_else(|| format!("project-{account}"), Into::into);
    let age = match members.get("age") {
        Some(age) => humantime::parse_duration(age.as_str().unwrap_or_default())
            .map_err(|error| format!("{name}: age: {error}"))?,
        None => std::time::Duration::from_secs(30 * 86_400),
    };
    let data = members.get("environmentData").cloned().unwrap_or_else(|| {
        environment_data(environment, account, &project, members.get("organizationalData"))
    });
    let offerings = match (members.get("offerings"), word("serversSubPlan")) {
        (Some(Value::Object(named)), _) => named
            .iter()
            .map(|(kind, value)| {
                let mut offering = value.clone();
                if let Some(offering) = offering.as_object_mut() {
                    offering.insert("offeringType".into(), json!(kind));
                }
                offering
            })
            .collect(),
        (Some(list), _) => list.clone(),
        (None, Some(plan)) => usual(environment, account, &project, plan),
        (None, None) => json!([]),
    };
    let mut properties = Map::from_iter([
        ("hierarchyIdentifier".to_owned(), json!(account)),
        ("environmentName".to_owned(), json!(environment)),
        ("environmentData".to_owned(), data),
        ("offerings".to_owned(), offerings),
    ]);
    properties.extend(
        members
            .get("properties")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
    );
    let stamp = (USER.to_owned(), instant::ticks(now));
    let aged = i64::try_from(age.as_millis()).unwrap_or_default();
    let connector = Connector {
        name: name.into(),
        group: word("resourceGroup")
            .unwrap_or("rg-connectors")
            .to_ascii_lowercase(),
        location: word("location").unwrap_or("westeurope").into(),
        tags: members
            .get("tags")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
        properties,
        since: subscription.fleet_now(now) - aged,
        parent: None,
        unassigned: false,
        trial_end: None,
        created: stamp.clone(),
        modified: stamp,
    };
    machines::make_group(subscription, &connector.group, "westeurope");
    subscription.connectors.insert(connector.key(), connector);
    Ok(())
}

fn environment_data(environment: &str, account: &str, project: &str, organization: Option<&Value>) -> Value {
    let mut data = match environment.to_ascii_uppercase().as_str() {
        "AWS" => json!({"environmentType": "AwsAccount", "scanInterval": 4}),
        "GCP" => json!({"environmentType": "GcpProject", "scanInterval": 4,
                        "projectDetails": {"projectNumber": account, "projectId": project}}),
        _ => json!({"environmentType": format!("{environment}Scope")}),
    };
    if let (Some(data), Some(organization)) = (data.as_object_mut(), organization.and_then(Value::as_object))
    {
        let mut organization = organization.clone();
        organization.insert("organizationMembershipType".into(), json!("Organization"));
        data.insert("organizationalData".into(), organization.into());
    }
    data
}

/// The offerings that the portal's wizard creates for servers.
fn usual(environment: &str, account: &str, project: &str, plan: &str) -> Value {
    let full = plan.eq_ignore_ascii_case("P2");
    let mut common = json!({
        "mdeAutoProvisioning": {"enabled": true, "configuration": {}},
        "vaAutoProvisioning": {"enabled": true, "configuration": {"type": "TVM"}},
        "subPlan": {"type": plan},
        "arcAutoProvisioning": {"enabled": true, "configuration": {}},
        "vmScanners": {"enabled": full, "configuration": {"scanningMode": "Default", "exclusionTags": {}}},
    });
    let put = |common: &mut Value, path: &str, value: Value| set_at(common, path, &value);
    if environment.eq_ignore_ascii_case("GCP") {
        let mail = |name: &str| format!("microsoft-defender-{name}@{project}.iam.gserviceaccount.com");
        put(&mut common, "offeringType", json!("DefenderForServersGcp"));
        let own = json!({"serviceAccountEmailAddress": mail("for-servers"),
                         "workloadIdentityProviderId": "defender-for-servers"});
        put(&mut common, "defenderForServers", own);
        let cspm = json!({"offeringType": "CspmMonitorGcp", "nativeCloudConnection": {
            "serviceAccountEmailAddress": mail("cspm"), "workloadIdentityProviderId": "cspm"}});
        return json!([cspm, common]);
    }
    let role = |name: &str| json!(format!("arn:aws:iam::{account}:role/{name}"));
    put(&mut common, "offeringType", json!("DefenderForServersAws"));
    put(
        &mut common,
        "defenderForServers.cloudRoleArn",
        role("DefenderForCloud-DefenderForServers"),
    );
    put(
        &mut common,
        "arcAutoProvisioning.cloudRoleArn",
        role("DefenderForCloud-ArcAutoProvisioning"),
    );
    put(
        &mut common,
        "vmScanners.cloudRoleArn",
        role("DefenderForCloud-AgentlessScanner"),
    );
    let cspm = json!({"offeringType": "CspmMonitorAws",
                      "nativeCloudConnection": {"cloudRoleArn": role("CspmMonitorAws")}});
    json!([cspm, common])
}

/// Sets the value at a dotted path, or removes it with null; creates missing objects.
fn set_at(value: &mut Value, path: &str, new: &Value) {
    if !value.is_object() {
        *value = json!({});
    }
    let Some(members) = value.as_object_mut() else {
        return;
    };
    match path.split_once('.') {
        Some((head, rest)) => set_at(members.entry(head).or_insert_with(|| json!({})), rest, new),
        None if new.is_null() => drop(members.remove(path)),
        None => drop(members.insert(path.into(), new.clone())),
    }
}

/// `NAME`, `NAME.tags.x`, `NAME.offerings.TYPE.path`, `NAME.environmentData.path`, …
pub(super) fn set(
    subscription: &mut Subscription,
    rest: &str,
    value: &Value,
    now: Timestamp,
) -> Result<(), String> {
    // Names may contain dots: the longest known name wins.
    let named = subscription
        .connectors
        .iter()
        .flat_map(|(key, connector)| [(connector.name.clone(), key.clone()), (key.clone(), key.clone())])
        .filter(|(name, _)| {
            let head = rest
                .get(..name.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(name));
            head && matches!(rest.as_bytes().get(name.len()), None | Some(b'.'))
        })
        .max_by_key(|(name, _)| name.len());
    let Some((name, key)) = named else {
        return match value {
            Value::Object(members) => {
                let mut members = members.clone();
                members.entry("name").or_insert_with(|| json!(rest));
                members.entry("age").or_insert_with(|| json!("0s"));
                add(subscription, &members, now)
            }
            Value::Null => Ok(()),
            _ => Err("unknown connector; an object creates it".into()),
        };
    };
    let path = rest.get(name.len()..).unwrap_or_default().trim_start_matches('.');
    if path.is_empty() && value.is_null() {
        subscription.connectors.remove(&key);
        return Ok(());
    }
    let connector = subscription.connectors.get_mut(&key).ok_or("unknown connector")?;
    connector.modified = (USER.into(), instant::ticks(now));
    match value {
        Value::Object(members) if path.is_empty() => members
            .iter()
            .try_for_each(|(path, value)| set_member(connector, path, value)),
        _ if path.is_empty() => Err("expected an object or null".into()),
        _ => set_member(connector, path, value),
    }
}

fn set_member(connector: &mut Connector, path: &str, value: &Value) -> Result<(), String> {
    match path.split_once('.').unwrap_or((path, "")) {
        ("location", "") => connector.location = value.as_str().ok_or("expected a string")?.into(),
        ("tags", "") => connector.tags = value.as_object().cloned().ok_or("expected an object")?,
        // The name of a tag may contain dots.
        ("tags", tag) if value.is_null() => drop(connector.tags.remove(tag)),
        ("tags", tag) => drop(connector.tags.insert(tag.into(), value.clone())),
        ("offerings", rest) if !rest.is_empty() => set_offering(connector, rest, value)?,
        ("offerings", _) if !value.is_array() => return Err("expected a list".into()),
        _ => {
            let mut properties = Value::Object(std::mem::take(&mut connector.properties));
            set_at(&mut properties, path, value);
            if let Value::Object(properties) = properties {
                connector.properties = properties;
            }
        }
    }
    Ok(())
}

fn set_offering(connector: &mut Connector, path: &str, value: &Value) -> Result<(), String> {
    let (expected, rest) = path.split_once('.').unwrap_or((path, ""));
    let all = connector
        .properties
        .entry("offerings")
        .or_insert_with(|| json!([]));
    let all = all.as_array_mut().ok_or("the stored offerings are not a list")?;
    let of_kind = |offering: &Value| kind(offering).eq_ignore_ascii_case(expected);
    if rest.is_empty() {
        all.retain(|offering| !of_kind(offering));
        if let Value::Object(members) = value {
            let mut members = members.clone();
            members.insert("offeringType".into(), json!(expected));
            all.push(members.into());
        } else if !value.is_null() {
            return Err("expected an object or null".into());
        }
        return Ok(());
    }
    let offering = all
        .iter_mut()
        .find(|offering| of_kind(offering))
        .ok_or_else(|| format!("no offering of type {expected}"))?;
    set_at(offering, rest, value);
    Ok(())
}

/// All connectors with the members of patches.
pub(crate) fn shown(subscription: &Subscription, now: Timestamp) -> Value {
    let at = subscription.fleet_now(now);
    subscription
        .connectors
        .iter()
        .map(|(key, connector)| {
            let mut body = connector.properties.clone();
            body.insert("id".into(), json!(connector.id(&subscription.id)));
            body.insert("location".into(), json!(connector.location));
            body.insert("tags".into(), json!(connector.tags));
            body.insert("memberOf".into(), json!(connector.parent));
            body.insert("exists".into(), json!(connector.since <= at));
            (key.clone(), Value::Object(body))
        })
        .collect::<Members>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str) -> Subscription {
        let mut subscription = Subscription::new("s", "t", "S");
        let seed = json!({"name": name, "hierarchyIdentifier": "123456789012", "serversSubPlan": "P2"});
        add(
            &mut subscription,
            seed.as_object().unwrap(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        subscription
    }

    #[test]
    fn paths_reach_into_offerings_and_names_may_have_dots() {
        let mut subscription = with("aws.prod");
        let now = Timestamp::UNIX_EPOCH;
        for (path, value) in [
            (
                "aws.prod.offerings.DefenderForServersAws.subPlan.type",
                json!("P1"),
            ),
            ("AWS.prod.offerings.DefenderCspmAws", json!({"ciem": {}})),
            ("aws.prod.tags.team.name", json!("sec")),
            ("aws.prod.environmentData.scanInterval", json!(12)),
        ] {
            set(&mut subscription, path, &value, now).unwrap();
        }
        let connector = &subscription.connectors["rg-connectors/aws.prod"];
        assert_eq!(connector.servers().unwrap()["subPlan"]["type"], "P1");
        assert!(connector.reports() && connector.pays() && connector.offerings().len() == 3);
        assert_eq!(connector.tags["team.name"], "sec");
        assert_eq!(connector.properties["environmentData"]["scanInterval"], 12);
        set(
            &mut subscription,
            "aws.prod.offerings.DefenderForServersAws",
            &Value::Null,
            now,
        )
        .unwrap();
        assert!(
            subscription.connectors["rg-connectors/aws.prod"]
                .servers()
                .is_none()
        );
        set(&mut subscription, "aws.prod", &Value::Null, now).unwrap();
        assert!(subscription.connectors.is_empty());
        assert!(set(&mut subscription, "gone.tags.x", &json!(1), now).is_err());
    }
}
