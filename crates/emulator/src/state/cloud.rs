//! The accounts of other clouds that connectors log in to. An account that is not seeded has no problems.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::connector::{Cloud, Connector};

/// An instance, with the members of a machine's seed.
pub type Instance = Map<String, Value>;

/// All accounts, by AWS account id and by GCP project number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CloudAccounts {
    /// By account id.
    pub aws: BTreeMap<String, AwsAccount>,
    /// By project number.
    pub gcp: BTreeMap<String, GcpProject>,
}

/// The state of the OIDC provider of an AWS account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IdentityProvider {
    /// Exists with every audience.
    #[default]
    Ok,
    /// Does not exist.
    Missing,
    /// Exists for another service (`Sentinel`), without the audiences of Defender.
    OwnedBy(String),
}

/// The state of a role, a pool, a provider or a service account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrustState {
    /// Correct.
    #[default]
    Ok,
    /// Does not exist.
    Missing,
    /// Trusts another principal or tenant.
    WrongTrust,
    /// Expects another audience.
    WrongAudience,
}

/// An AWS account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AwsAccount {
    /// Name of the account, shown in connectors.
    pub account_name: Option<String>,
    /// The OIDC provider.
    pub identity_provider: IdentityProvider,
    /// The roles by ARN or name.
    pub roles: BTreeMap<String, TrustState>,
    /// EC2 instances.
    pub instances: Vec<Instance>,
    /// The organization, if this is a management account.
    pub organization: Option<AwsOrganization>,
    /// Time of the last change, on the fleet's clock.
    pub changed: i64,
}

/// The organization of a management account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AwsOrganization {
    /// The stack set that creates the roles of the members.
    pub stack_set: TrustState,
    /// Member accounts.
    pub account_ids: Vec<String>,
}

/// A GCP project.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GcpProject {
    /// Project id; any if absent.
    pub project_id: Option<String>,
    /// Name of the project, shown in connectors.
    pub project_name: Option<String>,
    /// The workload identity pool.
    pub workload_identity_pool: TrustState,
    /// Providers of the pool, by id.
    pub workload_identity_providers: BTreeMap<String, TrustState>,
    /// Service accounts by address.
    pub service_accounts: BTreeMap<String, TrustState>,
    /// APIs by short name (`iam`, `sts`, …); on if absent.
    pub apis: BTreeMap<String, bool>,
    /// An organization policy forbids the federation.
    pub federation_blocked: bool,
    /// Compute Engine instances.
    pub instances: Vec<Instance>,
    /// The organization, if this is a management project.
    pub organization: Option<GcpOrganization>,
    /// Time of the last change, on the fleet's clock.
    pub changed: i64,
}

/// The organization of a management project.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GcpOrganization {
    /// The organization's number.
    pub organization_id: String,
    /// Name of the organization, shown in connectors.
    pub organization_name: Option<String>,
    /// Numbers of the member projects.
    pub project_numbers: Vec<String>,
}

/// The accounts, shared by all subscriptions; a clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct Clouds(Arc<CloudAccounts>);

impl Deref for Clouds {
    type Target = CloudAccounts;

    fn deref(&self) -> &CloudAccounts {
        &self.0
    }
}

impl Serialize for Clouds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Clouds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CloudAccounts::deserialize(deserializer).map(|accounts| Self(Arc::new(accounts)))
    }
}

impl Clouds {
    /// Whether both share the same data.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Applies a JSON merge patch: objects member by member, `null` removes, everything else replaces.
    ///
    /// # Errors
    ///
    /// Returns a message if the result is not valid.
    pub(crate) fn merged(&self, patch: &Value, now: i64) -> Result<Self, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        merge(&mut all, patch);
        let mut all: CloudAccounts =
            serde_json::from_value(all).map_err(|error| format!("cloudAccounts: {error}"))?;
        let touched = |cloud: &str, id: &str| patch.get(cloud).and_then(|part| part.get(id)).is_some();
        for (id, account) in &mut all.aws {
            if touched("aws", id) {
                account.changed = now;
            }
        }
        for (id, project) in &mut all.gcp {
            if touched("gcp", id) {
                project.changed = now;
            }
        }
        Ok(Self(Arc::new(all)))
    }

    /// The machines that a connector can find.
    pub(crate) fn instances(&self, connector: &Connector) -> &[Instance] {
        match connector.cloud() {
            Some(Cloud::Aws) => self.aws.get(connector.account()).map(|found| &found.instances),
            Some(Cloud::Gcp) => self.gcp.get(connector.account()).map(|found| &found.instances),
            None => None,
        }
        .map_or(&[], Vec::as_slice)
    }

    /// The id of a GCP project with this number.
    pub(crate) fn project_id(&self, number: &str) -> Option<&str> {
        self.gcp.get(number)?.project_id.as_deref()
    }

    /// When the account of a connector last changed.
    pub(crate) fn changed(&self, connector: &Connector) -> i64 {
        match connector.cloud() {
            Some(Cloud::Aws) => self.aws.get(connector.account()).map(|found| found.changed),
            Some(Cloud::Gcp) => self.gcp.get(connector.account()).map(|found| found.changed),
            None => None,
        }
        .unwrap_or_default()
    }

    /// The accounts or projects under the management account of a connector, with their parent.
    pub(crate) fn members(&self, connector: &Connector) -> (Vec<String>, String) {
        let own = connector.account().to_owned();
        match connector.cloud() {
            Some(Cloud::Aws) => {
                let organization = self.aws.get(&own).and_then(|found| found.organization.as_ref());
                let working = organization.filter(|found| found.stack_set == TrustState::Ok);
                (
                    working.map(|found| found.account_ids.clone()).unwrap_or_default(),
                    own,
                )
            }
            Some(Cloud::Gcp) => match self.gcp.get(&own).and_then(|found| found.organization.as_ref()) {
                Some(organization) => (
                    organization.project_numbers.clone(),
                    organization.organization_id.clone(),
                ),
                None => (Vec::new(), own),
            },
            None => (Vec::new(), own),
        }
    }
}

/// JSON merge patch (RFC 7386).
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    into.remove(name);
                } else {
                    merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => into.clone_from(patch),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_are_merged() {
        let clouds = Clouds::default();
        let broken = clouds
            .merged(
                &json!({"aws": {"1": {"identityProvider": {"ownedBy": "Sentinel"}, "roles": {"Cspm": "missing"}}}}),
                7,
            )
            .unwrap();
        assert_eq!(
            broken.aws["1"].identity_provider,
            IdentityProvider::OwnedBy("Sentinel".into())
        );
        let fixed = broken
            .merged(
                &json!({"aws": {"1": {"identityProvider": "ok", "roles": {"Cspm": null}}}}),
                9,
            )
            .unwrap();
        assert_eq!(fixed.aws["1"].identity_provider, IdentityProvider::Ok);
        assert!(fixed.aws["1"].roles.is_empty() && fixed.aws["1"].changed == 9);
        assert!(
            clouds
                .merged(&json!({"aws": {"1": {"idp": "missing"}}}), 0)
                .is_err()
        );
    }
}
