//! The offerings of a write. Only what the service requires is checked; the rest is stored as sent.

use serde_json::{Map, Value};

use super::bad;
use crate::{
    answer::Answer,
    arm::refusals,
    state::offering_kind,
    switches::{Switch, Switches},
};

/// Versions from this one on have the scanners' role beside `enabled`.
pub(super) const NEW_PLACE: &str = "2024-03-01";

/// The offering types of the newest version. Other types are stored as sent, because the list grows.
const KNOWN: [&str; 19] = [
    "CspmMonitorAws",
    "CspmMonitorGcp",
    "CspmMonitorAzureDevOps",
    "CspmMonitorDockerHub",
    "CspmMonitorGithub",
    "CspmMonitorGitLab",
    "CspmMonitorJFrog",
    "DefenderCspmAws",
    "DefenderCspmGcp",
    "DefenderCspmDockerHub",
    "DefenderCspmJFrog",
    "DefenderForContainersAws",
    "DefenderForContainersGcp",
    "DefenderForContainersDockerHub",
    "DefenderForContainersJFrog",
    "DefenderForDatabasesAws",
    "DefenderForDatabasesGcp",
    "DefenderForServersAws",
    "DefenderForServersGcp",
];

const ROLE: [&str; 1] = ["cloudRoleArn"];
const ACCOUNT: [&str; 2] = ["serviceAccountEmailAddress", "workloadIdentityProviderId"];

/// The offerings in the stored form: the scanners' role in its newest place, without read-only members.
pub(super) fn parse(
    version: &str,
    list: Vec<Value>,
    environment: &str,
    switches: &Switches,
) -> Result<Vec<Value>, Answer> {
    let mut kept: Vec<Value> = Vec::new();
    for (index, offering) in list.into_iter().enumerate() {
        let Value::Object(mut offering) = offering else {
            return Err(refusals::invalid_content(&format!(
                "'properties.offerings[{index}]' must be an object"
            ))
            .into());
        };
        offering.remove("description");
        let kind = offering
            .get("offeringType")
            .and_then(Value::as_str)
            .ok_or_else(|| bad(&format!("offerings[{index}].offeringType is required.")))?
            .to_owned();
        if kept
            .iter()
            .any(|other| offering_kind(other).eq_ignore_ascii_case(&kind))
        {
            return Err(bad(&format!("Offering '{kind}' appears more than once.")));
        }
        check(&kind, environment, version, &mut offering, switches)?;
        kept.push(offering.into());
    }
    let monitored = kept.iter().any(|offering| {
        offering_kind(offering)
            .to_ascii_lowercase()
            .starts_with("cspmmonitor")
    });
    let clouds = matches!(environment, "AWS" | "GCP");
    if clouds && !monitored && !switches.flipped(Switch::ConnectorWithoutCspm) {
        return Err(bad("The foundational CSPM offering is mandatory."));
    }
    Ok(kept)
}

fn check(
    kind: &str,
    environment: &str,
    version: &str,
    offering: &mut Map<String, Value>,
    switches: &Switches,
) -> Result<(), Answer> {
    let Some(known) = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(kind)) else {
        return Ok(());
    };
    if !known
        .to_ascii_lowercase()
        .ends_with(&environment.to_ascii_lowercase())
    {
        return Err(bad(&format!(
            "Offering '{kind}' does not fit environment '{environment}'."
        )));
    }
    truths(kind, offering)?;
    if version < NEW_PLACE {
        new_place(offering);
    }
    let own = match environment {
        "AWS" => ROLE.as_slice(),
        "GCP" => ACCOUNT.as_slice(),
        _ => return Ok(()),
    };
    if known.starts_with("CspmMonitor") {
        return connected(kind, offering, "nativeCloudConnection", own);
    }
    if !known.starts_with("DefenderForServers") {
        return Ok(());
    }
    connected(kind, offering, "defenderForServers", own)?;
    let on = |offering: &Map<String, Value>, part: &str| {
        offering
            .get(part)
            .and_then(|part| part.get("enabled"))
            .is_some_and(|enabled| enabled == true)
    };
    for part in ["arcAutoProvisioning", "vmScanners"] {
        if environment == "AWS" && on(offering, part) {
            connected(kind, offering, part, &ROLE)?;
        }
    }
    let plan = word(kind, offering, ["subPlan", "/type"], &["P1", "P2"])?;
    word(
        kind,
        offering,
        ["vaAutoProvisioning", "/configuration/type"],
        &["TVM", "Qualys"],
    )?;
    word(
        kind,
        offering,
        ["vmScanners", "/configuration/scanningMode"],
        &["Default"],
    )?;
    let tags = offering
        .get("vmScanners")
        .and_then(|part| part.pointer("/configuration/exclusionTags"));
    if tags.is_some_and(|tags| !tags.is_object() && !tags.is_null()) {
        return Err(bad(&format!("{kind}: exclusionTags must be an object.")));
    }
    if plan.as_deref() == Some("P1")
        && on(offering, "vmScanners")
        && !switches.flipped(Switch::ScannersWithP1)
    {
        return Err(bad(&format!(
            "{kind}: agentless scanning is not part of sub-plan P1."
        )));
    }
    Ok(())
}

/// `enabled` is a JSON boolean here.
fn truths(kind: &str, offering: &Map<String, Value>) -> Result<(), Answer> {
    for (name, part) in offering {
        if part.get("enabled").is_some_and(|enabled| !enabled.is_boolean()) {
            let path = format!("{kind}.{name}.enabled");
            return Err(refusals::invalid_content(&format!("'{path}' must be true or false")).into());
        }
    }
    Ok(())
}

/// An enabled part must name the role or identity to log in with.
fn connected(kind: &str, offering: &Map<String, Value>, part: &str, members: &[&str]) -> Result<(), Answer> {
    for member in members {
        let named = offering
            .get(part)
            .and_then(|part| part.get(member)?.as_str())
            .is_some_and(|text| !text.is_empty());
        if !named {
            return Err(bad(&format!("{kind}: {part}.{member} is required.")));
        }
    }
    Ok(())
}

/// An optional value from a list, in the list's spelling.
fn word(
    kind: &str,
    offering: &Map<String, Value>,
    [part, path]: [&str; 2],
    known: &[&str],
) -> Result<Option<String>, Answer> {
    let Some(value) = offering
        .get(part)
        .and_then(|part| part.pointer(path))
        .filter(|value| !value.is_null())
    else {
        return Ok(None);
    };
    let text = value.as_str().unwrap_or_default();
    known
        .iter()
        .find(|known| known.eq_ignore_ascii_case(text))
        .map(|known| Some((*known).to_owned()))
        .ok_or_else(|| {
            let place = path.replace('/', ".");
            bad(&format!(
                "{kind}: {value} is no value of {part}{place}. Possible values: {}",
                known.join(", ")
            ))
        })
}

/// Moves the scanners' role out of `configuration`, where old versions have it.
fn new_place(offering: &mut Map<String, Value>) {
    let Some(scanners) = offering.get_mut("vmScanners").and_then(Value::as_object_mut) else {
        return;
    };
    let role = scanners
        .get_mut("configuration")
        .and_then(Value::as_object_mut)
        .and_then(|configuration| configuration.remove("cloudRoleArn"));
    if let Some(role) = role {
        scanners.entry("cloudRoleArn").or_insert(role);
    }
}

/// Moves it back for a response in an old version.
pub(super) fn to_old_place(properties: &mut Map<String, Value>) {
    let list = properties.get_mut("offerings").and_then(Value::as_array_mut);
    for offering in list.into_iter().flatten() {
        let Some(scanners) = offering.get_mut("vmScanners").and_then(Value::as_object_mut) else {
            continue;
        };
        if let Some(role) = scanners.remove("cloudRoleArn")
            && let Some(configuration) = scanners
                .entry("configuration")
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
        {
            configuration.insert("cloudRoleArn".into(), role);
        }
    }
}
