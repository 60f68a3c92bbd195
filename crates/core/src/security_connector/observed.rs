//! What was read from Azure. A connector is kept as the JSON of the response, so that unmanaged parts are sent back
//! unchanged.

use serde_json::{Map, Value};
use serverprotection_api::{Cloud, ConnectorIssue, Tier};

use super::{
    account::{ListedConnector, Membership},
    desired::{Members, OLD_SCANNER_ROLE, Offering, Place, SCANNER_ROLE, environment_name},
};
use crate::{
    Timestamp,
    azure_error::AzureError,
    reading::{Permissions, ReadResult},
};

/// Everything that one reconcile read. `None`: not read by this reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Whether Entra issued a token; if not, nothing else was read.
    pub credential: Result<(), AzureError>,
    /// The connector; `Ok(None)` if there is none.
    pub connector: Option<ReadResult<Option<Connector>>>,
    /// Whether the resource group exists; needed only if there is no connector.
    pub resource_group: Option<ReadResult<bool>>,
    /// All connectors that the identity can see; needed if there is no connector, and otherwise read from time to
    /// time.
    pub others: Option<ReadResult<Vec<ListedConnector>>>,
    /// The connector's health reports.
    pub health: Option<ReadResult<Vec<HealthReport>>>,
    /// What the identity may do.
    pub permissions: Option<ReadResult<Permissions>>,
}

impl Observed {
    /// Nothing was read.
    pub fn nothing() -> Self {
        Self {
            credential: Ok(()),
            connector: None,
            resource_group: None,
            others: None,
            health: None,
            permissions: None,
        }
    }

    /// Nothing was read, because Entra issued no token.
    pub fn without_credential(failure: AzureError) -> Self {
        Self {
            credential: Err(failure),
            ..Self::nothing()
        }
    }

    /// The most severe failure among the reads that decide about Ready: errors that need user action come first.
    /// Resource group and other connectors count only if there is no connector: creating one without knowing them
    /// could create a second one.
    pub fn failure(&self) -> Option<&AzureError> {
        let absent = matches!(self.connector, Some(Ok(None)));
        let group = self.resource_group.as_ref().and_then(|read| read.as_ref().err());
        let others = self.others.as_ref().and_then(|read| read.as_ref().err());
        let reads = [
            self.credential.as_ref().err(),
            self.connector.as_ref().and_then(|read| read.as_ref().err()),
            group.filter(|_| absent),
            others.filter(|_| absent),
        ];
        reads
            .into_iter()
            .flatten()
            .min_by_key(|failure| failure.class.is_transient())
    }

    /// The connector that was read, if there is one.
    pub fn found(&self) -> Option<&Connector> {
        self.connector.as_ref()?.as_ref().ok()?.as_ref()
    }
}

/// A health report of the connector (docs/azure-api.md 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// `Connectivity`, …
    pub component: String,
    /// `Connectors`, …
    pub scope: String,
    /// `Healthy`, `NotHealthy`, `NotApplicable`.
    pub code: String,
    /// What is wrong.
    pub issues: Vec<ConnectorIssue>,
}

/// A connector as Azure returned it.
#[derive(Clone, Debug, PartialEq)]
pub struct Connector {
    body: Map<String, Value>,
}

impl Connector {
    /// Parses a response; `None` if it is not a JSON object.
    pub fn read(answer: Value) -> Option<Self> {
        match answer {
            Value::Object(body) => Some(Self { body }),
            _ => None,
        }
    }

    /// The response, unchanged.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    fn property(&self, members: &[&str]) -> Option<&Value> {
        find(self.body.get("properties")?.as_object()?, members)
    }

    fn text(&self, members: &[&str]) -> Option<&str> {
        self.property(members)?.as_str()
    }

    /// Resource id.
    pub fn id(&self) -> &str {
        self.body.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// The region of its data, normalized as Azure compares it: `West Europe` is `westeurope`.
    pub fn location(&self) -> Option<String> {
        let location = self.body.get("location")?.as_str()?;
        Some(location.replace(' ', "").to_lowercase())
    }

    /// Azure's `environmentName`.
    pub fn environment(&self) -> &str {
        self.text(&["environmentName"]).unwrap_or_default()
    }

    /// The cloud, if it is AWS or GCP.
    pub fn cloud(&self) -> Option<Cloud> {
        [Cloud::AWS, Cloud::GCP]
            .into_iter()
            .find(|cloud| environment_name(*cloud).eq_ignore_ascii_case(self.environment()))
    }

    /// Azure's `hierarchyIdentifier`.
    pub fn account(&self) -> String {
        match self.property(&["hierarchyIdentifier"]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// Name of the account or project.
    pub fn account_name(&self) -> Option<&str> {
        self.text(&["environmentData", "accountName"])
            .or_else(|| self.text(&["environmentData", "projectDetails", "projectName"]))
    }

    /// How the account belongs to an organization.
    pub fn membership(&self) -> Membership {
        let member = |name: &str| self.text(&["environmentData", "organizationalData", name]);
        match member("organizationMembershipType") {
            Some(word) if word.eq_ignore_ascii_case("Organization") => Membership::Organization,
            Some(word) if word.eq_ignore_ascii_case("Member") => Membership::Member {
                parent: member("parentHierarchyId").map(str::to_owned),
                management: member("managementProjectNumber").map(str::to_owned),
            },
            _ => Membership::Single,
        }
    }

    /// End of the free trial.
    pub fn trial_end(&self) -> Option<Timestamp> {
        self.text(&["hierarchyIdentifierTrialEndDate"])?.parse().ok()
    }

    /// The plan of the servers; `None` if the offering has an unknown plan.
    pub fn tier(&self) -> Option<Tier> {
        let cloud = self.cloud()?;
        if self.offering(Offering::Servers, cloud).is_none() {
            return Some(Tier::Free);
        }
        let word = self
            .value(&Place::Offering(Offering::Servers, &["subPlan", "type"]), cloud)?
            .as_str()?;
        [("P1", Tier::P1), ("P2", Tier::P2)]
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, tier)| tier)
    }

    /// The offering of this type.
    pub fn offering(&self, offering: Offering, cloud: Cloud) -> Option<&Map<String, Value>> {
        let all = self.property(&["offerings"])?.as_array()?;
        all.iter()
            .filter_map(Value::as_object)
            .find(|found| is_of_type(found, offering.azure_name(cloud)))
    }

    /// The value at a place.
    pub fn value(&self, place: &Place, cloud: Cloud) -> Option<&Value> {
        match place {
            Place::Tag(key) => {
                let tags = self.body.get("tags")?.as_object()?;
                let found = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
                found.map(|(_, value)| value)
            }
            Place::Environment(members) => find(self.property(&["environmentData"])?.as_object()?, members),
            Place::Offering(offering, members) => {
                let found = self.offering(*offering, cloud)?;
                find(found, members).or_else(|| old_place(found, members))
            }
        }
    }
}

impl From<&Connector> for ListedConnector {
    fn from(connector: &Connector) -> Self {
        Self {
            id: connector.id().into(),
            cloud: connector.cloud(),
            account: connector.account(),
            membership: connector.membership(),
        }
    }
}

/// The scanner's role may still be in its place of the api-version 2023-10-01-preview and earlier.
fn old_place(offering: &Map<String, Value>, members: Members) -> Option<&Value> {
    (members == SCANNER_ROLE)
        .then(|| find(offering, OLD_SCANNER_ROLE))
        .flatten()
}

/// Whether an offering is of this type, in any case: Azure returns the case that a client sent.
pub(super) fn is_of_type(offering: &Map<String, Value>, type_: &str) -> bool {
    let found = offering.get("offeringType").and_then(Value::as_str);
    found.is_some_and(|found| found.eq_ignore_ascii_case(type_))
}

/// The value at the end of a path of members; null counts as absent.
pub(super) fn find<'a>(from: &'a Map<String, Value>, members: &[&str]) -> Option<&'a Value> {
    let (first, rest) = members.split_first()?;
    let value = from.get(*first).filter(|value| !value.is_null())?;
    if rest.is_empty() {
        Some(value)
    } else {
        find(value.as_object()?, rest)
    }
}
