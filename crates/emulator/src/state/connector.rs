//! A connector to an account of another cloud: the stored properties, and queries about them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The clouds that have accounts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon.
    Aws,
    /// Google.
    Gcp,
}

/// A `securityConnectors` resource. Offerings are stored as sent, in the newest form.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connector {
    /// In its creator's spelling.
    pub name: String,
    /// Resource group, in lower case as the service shows it.
    pub group: String,
    /// As sent.
    pub location: String,
    /// Replaced as a whole.
    #[serde(default)]
    pub tags: Map<String, Value>,
    /// `hierarchyIdentifier`, `environmentName`, `environmentData`, `offerings` and unknown members.
    pub properties: Map<String, Value>,
    /// Time of creation, on the fleet's clock.
    pub since: i64,
    /// For a member: the key of its organization's connector.
    #[serde(default)]
    pub parent: Option<String>,
    /// The service may not assign the roles that Arc provisioning needs.
    #[serde(default)]
    pub unassigned: bool,
    /// `hierarchyIdentifierTrialEndDate`.
    #[serde(default)]
    pub trial_end: Option<String>,
    /// Creator and time of creation.
    pub created: (String, String),
    /// Author and time of the last change.
    pub modified: (String, String),
}

/// Whether an offering is one of the paid ones.
fn paid(offering: &Value) -> bool {
    kind(offering).starts_with("Defender")
}

/// The type of an offering.
pub(crate) fn kind(offering: &Value) -> &str {
    offering
        .get("offeringType")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Connector {
    /// The key of a connector.
    pub fn key_of(group: &str, name: &str) -> String {
        format!("{}/{}", group.to_ascii_lowercase(), name.to_ascii_lowercase())
    }

    /// The key of this connector.
    pub fn key(&self) -> String {
        Self::key_of(&self.group, &self.name)
    }

    /// Its id, with the service's own spelling of the resource group.
    pub fn id(&self, subscription: &str) -> String {
        format!(
            "/subscriptions/{subscription}/resourcegroups/{}/providers/Microsoft.Security/securityConnectors/{}",
            self.group, self.name
        )
    }

    fn text(&self, member: &str) -> &str {
        self.properties
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `AWS`, `GCP`, …
    pub fn environment(&self) -> &str {
        self.text("environmentName")
    }

    /// AWS account id, GCP project number.
    pub fn account(&self) -> &str {
        self.text("hierarchyIdentifier")
    }

    /// The cloud, if it has accounts here.
    pub fn cloud(&self) -> Option<Cloud> {
        if self.environment().eq_ignore_ascii_case("AWS") {
            Some(Cloud::Aws)
        } else if self.environment().eq_ignore_ascii_case("GCP") {
            Some(Cloud::Gcp)
        } else {
            None
        }
    }

    /// Its offerings.
    pub fn offerings(&self) -> &[Value] {
        self.properties
            .get("offerings")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn offering(&self, head: &str) -> Option<&Value> {
        self.offerings().iter().find(|offering| {
            kind(offering)
                .get(..head.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(head))
        })
    }

    /// The Defender for Servers offering.
    pub fn servers(&self) -> Option<&Value> {
        self.offering("DefenderForServers")
    }

    /// Whether a part of Defender for Servers is enabled.
    pub fn provisions(&self, part: &str) -> bool {
        self.servers()
            .and_then(|offering| offering.get(part)?.get("enabled")?.as_bool())
            .unwrap_or_default()
    }

    /// Whether its machines have health reports: with P2, or P1 with Defender CSPM.
    pub fn reports(&self) -> bool {
        let plan = self
            .servers()
            .and_then(|offering| offering.pointer("/subPlan/type"));
        let first = plan
            .and_then(Value::as_str)
            .is_some_and(|plan| plan.eq_ignore_ascii_case("P1"));
        self.servers().is_some() && (!first || self.offering("DefenderCspm").is_some())
    }

    /// Whether an offering finds instances: the posture offerings do.
    pub fn discovers(&self) -> bool {
        self.offering("CspmMonitor").is_some() || self.offering("DefenderCspm").is_some()
    }

    /// Whether a paid offering is on.
    pub fn pays(&self) -> bool {
        self.offerings().iter().any(paid)
    }

    /// `environmentData.organizationalData`.
    pub fn organizational(&self) -> Option<&Value> {
        self.properties.get("environmentData")?.get("organizationalData")
    }

    fn membership(&self, expected: &str) -> bool {
        self.organizational()
            .and_then(|data| data.get("organizationMembershipType")?.as_str())
            .is_some_and(|found| found.eq_ignore_ascii_case(expected))
    }

    /// Whether it connects a whole organization.
    pub fn is_organization(&self) -> bool {
        self.membership("Organization")
    }

    /// Whether the service created it.
    pub fn is_member(&self) -> bool {
        self.membership("Member")
    }

    /// Whether an account or project is excluded from the organization.
    pub(crate) fn excludes(&self, account: &str) -> bool {
        ["excludedAccountIds", "excludedProjectNumbers"]
            .iter()
            .any(|list| {
                self.organizational()
                    .and_then(|data| data.get(list)?.as_array())
                    .is_some_and(|list| list.iter().any(|item| item == account))
            })
    }

    /// The connector that the service creates for a member account.
    pub(crate) fn member(&self, account: &str, parent: &str, project_id: Option<&str>) -> Self {
        let environment = match self.cloud() {
            Some(Cloud::Gcp) => {
                let project = project_id.map_or_else(|| format!("project-{account}"), str::to_owned);
                json!({
                    "environmentType": "GcpProject",
                    "projectDetails": {"projectNumber": account,
                                       "projectId": project},
                    "organizationalData": {"organizationMembershipType": "Member", "parentHierarchyId": parent,
                                           "managementProjectNumber": self.account()},
                })
            }
            _ => json!({
                "environmentType": "AwsAccount",
                "organizationalData": {"organizationMembershipType": "Member", "parentHierarchyId": parent},
            }),
        };
        let own = format!(":{}:", self.account());
        let offerings: Vec<Value> = self
            .offerings()
            .iter()
            .map(|offering| replaced(offering, &own, &format!(":{account}:")))
            .collect();
        let mut properties = Map::from_iter([
            ("hierarchyIdentifier".to_owned(), json!(account)),
            ("environmentName".to_owned(), json!(self.environment())),
            ("environmentData".to_owned(), environment),
            ("offerings".to_owned(), json!(offerings)),
        ]);
        let scan = self
            .properties
            .get("environmentData")
            .and_then(|data| data.get("scanInterval"));
        if let (Some(data), Some(scan)) = (
            properties
                .get_mut("environmentData")
                .and_then(Value::as_object_mut),
            scan,
        ) {
            data.insert("scanInterval".into(), scan.clone());
        }
        Self {
            name: format!("{}_{account}", self.name),
            tags: Map::new(),
            properties,
            parent: Some(self.key()),
            ..self.clone()
        }
    }
}

/// A copy with a part of every string replaced.
fn replaced(value: &Value, old: &str, new: &str) -> Value {
    match value {
        Value::String(text) => json!(text.replace(old, new)),
        Value::Array(items) => items.iter().map(|item| replaced(item, old, new)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), replaced(value, old, new)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}
