//! Applications that sign in, and their rights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rbac::{self, RoleAssignment};

/// A federated identity credential of an application, with the public key of its issuer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederatedCredential {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
    /// Accepted values of the token's `aud`.
    #[serde(default = "exchange_audience")]
    pub audiences: Vec<String>,
    /// The issuer's public key (RSA or EC P-256), PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_pem: Option<String>,
    /// Alternatively, the issuer's key set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
}

/// A certificate of an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyCredential {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Whether its authority revoked it.
    #[serde(default)]
    pub revoked: bool,
}

/// How a managed identity is assigned to the emulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ManagedIdentity {
    /// The identity of the machine itself.
    SystemAssigned,
    /// An identity of its own, which machines may have several of.
    UserAssigned,
}

fn exchange_audience() -> Vec<String> {
    vec!["api://AzureADTokenExchange".into()]
}

/// An application (service principal).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The application's id.
    pub client_id: String,
    /// The service principal's id.
    pub object_id: String,
    /// Its home tenant.
    pub tenant: String,
    /// Display name.
    pub display_name: String,
    /// Valid secrets.
    pub secrets: Vec<String>,
    /// Federated identity credentials.
    pub federated_credentials: Vec<FederatedCredential>,
    /// Certificates.
    #[serde(default)]
    pub key_credentials: Vec<KeyCredential>,
    /// Whether it is a managed identity of the emulated machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentity>,
    /// Role assignments by subscription id; `*` applies to every subscription of the tenant.
    pub roles: BTreeMap<String, Vec<RoleAssignment>>,
}

impl Principal {
    /// An application without secrets and roles.
    pub fn new(client_id: &str, tenant: &str) -> Self {
        Self {
            client_id: client_id.into(),
            object_id: object_id_of(client_id),
            tenant: tenant.into(),
            display_name: format!("app-{}", client_id.get(..8).unwrap_or(client_id)),
            secrets: Vec::new(),
            federated_credentials: Vec::new(),
            key_credentials: Vec::new(),
            managed_identity: None,
            roles: BTreeMap::new(),
        }
    }

    /// The assignments that apply to a subscription.
    pub fn assignments<'a>(&'a self, subscription: &str) -> impl Iterator<Item = &'a RoleAssignment> {
        let own = self.roles.get(subscription).into_iter().flatten();
        own.chain(self.roles.get("*").into_iter().flatten())
    }

    /// Whether one of its roles allows an action in a subscription.
    pub fn may(&self, subscription: &str, action: &str) -> bool {
        self.assignments(subscription)
            .any(|assignment| rbac::grants(assignment, action))
    }
}

/// A stable object id for an application that is seeded without one.
fn object_id_of(client_id: &str) -> String {
    let tail = client_id.get(8..).unwrap_or("-0000-0000-0000-000000000000");
    format!("0b1ec7ed{tail}")
}
