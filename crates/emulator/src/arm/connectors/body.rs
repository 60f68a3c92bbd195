//! The body of a connector write: required members, and the one form in which it is stored.
//!
//! Unknown members are kept; read-only members are dropped.

use serde_json::{Map, Value, json};

use super::{bad, offerings};
use crate::{
    answer::Answer,
    arm::{refusals, regions::AWS_REGIONS},
    state::offering_kind,
    switches::{Switch, Switches},
};

/// Environment names with the type of their environment data.
pub(super) const ENVIRONMENTS: [(&str, &str); 8] = [
    ("AWS", "AwsAccount"),
    ("GCP", "GcpProject"),
    ("Azure", ""),
    ("AzureDevOps", "AzureDevOpsScope"),
    ("DockerHub", "DockerHubOrganization"),
    ("GitLab", "GitlabScope"),
    ("Github", "GithubScope"),
    ("JFrog", "JFrogArtifactory"),
];

/// The oldest version has `cloudName` and `organizationalData` beside the offerings.
pub(super) const OLDEST: &str = "2021-07-01-preview";

/// The properties in the stored form.
pub(super) fn parse(version: &str, sent: &Value, switches: &Switches) -> Result<Map<String, Value>, Answer> {
    let mut properties = sent
        .get("properties")
        .and_then(Value::as_object)
        .cloned()
        .ok_or_else(|| refusals::invalid_content("Required property 'properties' not found in JSON"))?;
    if version == OLDEST {
        renew(&mut properties);
    }
    properties.remove("hierarchyIdentifierTrialEndDate");
    let name = required(&properties, "environmentName")?.to_owned();
    let account = required(&properties, "hierarchyIdentifier")?.to_owned();
    let (name, data_type) = ENVIRONMENTS
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&name))
        .ok_or_else(|| bad(&format!("'{name}' is no environment name.")))?;
    let data = properties
        .get_mut("environmentData")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| bad("environmentData is required."))?;
    environment(data, (name, data_type), &account)?;
    if !switches.flipped(Switch::UnknownAwsRegion) {
        regions(data)?;
    }
    let list = match properties.remove("offerings") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(refusals::invalid_content("'properties.offerings' must be an array").into()),
    };
    let list = offerings::parse(version, list, name, switches)?;
    if name == "AWS" && !(account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit())) {
        return Err(bad(&format!("'{account}' is no AWS account id: 12 digits.")));
    }
    properties.insert("offerings".into(), list.into());
    Ok(properties)
}

fn required<'a>(properties: &'a Map<String, Value>, member: &str) -> Result<&'a str, Answer> {
    properties
        .get(member)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| bad(&format!("{member} is required.")))
}

/// Converts the oldest form into the newer one.
fn renew(properties: &mut Map<String, Value>) {
    if let Some(cloud) = properties.remove("cloudName") {
        let environment = cloud.as_str().unwrap_or_default();
        let kind = ENVIRONMENTS
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(environment))
            .map_or("", |(_, kind)| kind);
        let mut data = json!({"environmentType": kind});
        if let Some(organization) = properties.remove("organizationalData") {
            data = json!({"environmentType": kind, "organizationalData": organization});
        }
        if kind == "GcpProject" {
            let number = properties.get("hierarchyIdentifier").cloned().unwrap_or_default();
            let details = json!({"projectNumber": number, "projectId": format!("project-{}", number.as_str().unwrap_or_default())});
            if let Some(data) = data.as_object_mut() {
                data.insert("projectDetails".into(), details);
            }
        }
        properties.entry("environmentData").or_insert(data);
        properties.insert("environmentName".into(), cloud);
    }
}

/// The regions of an AWS account.
fn regions(data: &Map<String, Value>) -> Result<(), Answer> {
    let sent = data.get("regions").and_then(Value::as_array);
    let mut names = sent.into_iter().flatten().filter_map(Value::as_str);
    match names.find(|name| !AWS_REGIONS.contains(&name.to_ascii_lowercase().as_str())) {
        Some(name) => Err(bad(&format!("'{name}' is no region of AWS."))),
        None => Ok(()),
    }
}

fn environment(
    data: &mut Map<String, Value>,
    (name, kind): (&str, &str),
    account: &str,
) -> Result<(), Answer> {
    let sent = data
        .get("environmentType")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("environmentData.environmentType is required."))?;
    if !sent.eq_ignore_ascii_case(kind) {
        return Err(bad(&format!(
            "environmentType '{sent}' does not fit environment '{name}'."
        )));
    }
    match data.get("scanInterval") {
        None | Some(Value::Null) => {}
        Some(hours) if hours.as_u64().is_some_and(|hours| (1..=24).contains(&hours)) => {}
        Some(hours) => {
            return Err(bad(&format!(
                "scanInterval {hours} is not between 1 and 24 hours."
            )));
        }
    }
    data.remove("accountName");
    let organized = data.get("organizationalData").is_some_and(Value::is_object);
    if let Some(organization) = data.get_mut("organizationalData").and_then(Value::as_object_mut) {
        organization.remove("organizationName");
        let membership = organization
            .get("organizationMembershipType")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if membership.eq_ignore_ascii_case("Organization") && kind == "GcpProject" {
            required(organization, "serviceAccountEmailAddress")?;
            required(organization, "workloadIdentityProviderId")?;
        } else if membership.eq_ignore_ascii_case("Member") {
            required(organization, "parentHierarchyId")?;
        } else if !membership.eq_ignore_ascii_case("Organization") {
            return Err(bad(&format!("'{membership}' is no organizationMembershipType.")));
        }
    }
    if kind == "GcpProject" {
        let details = data
            .get_mut("projectDetails")
            .and_then(Value::as_object_mut)
            .ok_or_else(|| bad("environmentData.projectDetails is required."))?;
        details.remove("projectName");
        details.remove("workloadIdentityPoolId");
        required(details, "projectId")?;
        let number = required(details, "projectNumber")?;
        if !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(bad(&format!("'{number}' is no project number.")));
        }
        // What identifies a whole organization is not confirmed.
        if number != account && !organized {
            return Err(bad(&format!(
                "hierarchyIdentifier '{account}' is not the project number '{number}'."
            )));
        }
    }
    Ok(())
}

/// The properties after a PATCH: given members replace the stored ones; a switch decides about the offerings.
pub(super) fn over(
    old: &Map<String, Value>,
    given: &Map<String, Value>,
    version: &str,
    merges: bool,
) -> Map<String, Value> {
    let mut whole = old.clone();
    if version < offerings::NEW_PLACE {
        offerings::to_old_place(&mut whole);
    }
    let former = whole
        .get("offerings")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    whole.extend(given.clone());
    if let (true, Some(sent)) = (merges, given.get("offerings").and_then(Value::as_array)) {
        let kept = former.into_iter().filter(|old| {
            !sent
                .iter()
                .any(|new| offering_kind(new).eq_ignore_ascii_case(offering_kind(old)))
        });
        let all: Vec<Value> = kept.chain(sent.iter().cloned()).collect();
        whole.insert("offerings".into(), all.into());
    }
    whole
}
