//! `ClusterAzureCredential`s: who may use them, and what their clients are created from. Their Secrets and service
//! accounts are in the namespace of the operator.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use serverprotection_api::{
    AzureCredentialSpec, ClusterAzureCredential, ClusterAzureCredentialSpec, ClusterCredentialType,
    CredentialKind, CredentialType,
};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    grants::{self, Access, Ancestors, Denial, Use},
};

use crate::{
    ancestors::AncestorCache,
    credential_use::{CredentialKey, CredentialUse},
    credentials::{Credentials, MadeFrom, Source, SourceIdentity, failure, unreadable},
    namespaces::Namespaces,
    parsed::Parsed,
};

/// What decides about the use of `ClusterAzureCredential`s.
pub(crate) struct ClusterCredentials {
    pub(crate) store: Store<Parsed<ClusterAzureCredential>>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) ancestors: AncestorCache,
    /// Where their Secrets and service accounts are.
    pub(crate) operator_namespace: String,
}

impl ClusterCredentials {
    fn get(&self, name: &str) -> Option<Arc<Parsed<ClusterAzureCredential>>> {
        self.store.get(&ObjectRef::new(name))
    }

    /// The uid of a credential; `None` if it does not exist.
    pub(crate) fn uid(&self, name: &str) -> Option<String> {
        self.get(name)?.uid()
    }

    /// What the client of a credential is created from.
    pub(crate) fn source(&self, key: &CredentialKey) -> Result<Source, AzureError> {
        let known = self.get(&key.name);
        let known = known.ok_or_else(|| failure("CredentialNotFound", format!("{key} does not exist")))?;
        match &*known {
            Parsed::Valid(credential) => Ok(Source {
                made_from: made_from(credential),
                identity: identity(&credential.spec),
                namespace: self.operator_namespace.clone(),
            }),
            Parsed::Invalid(invalid) => Err(unreadable(key, &invalid.error)),
        }
    }

    /// Whether one of the grants of a credential covers the use.
    fn access(&self, name: &str, usage: &CredentialUse, ancestors: Ancestors<'_>) -> Access {
        let labels = self.namespaces.labels(&usage.namespace);
        let usage = Use {
            labels: labels.as_deref(),
            subscription: &usage.subscription,
            references: &usage.references,
        };
        match self.get(name).as_deref() {
            Some(Parsed::Valid(credential)) => grants::grant(&credential.spec.grants, usage, ancestors),
            // A tenant does not learn whether it exists.
            Some(Parsed::Invalid(_)) | None => Access::Denied(Denial::Namespace),
        }
    }
}

/// What decides about the client of a credential: everything but its grants, so that their edits need no other token.
fn made_from(credential: &ClusterAzureCredential) -> MadeFrom {
    let ClusterAzureCredentialSpec {
        tenant_id,
        client_id,
        type_,
        workload_identity,
        client_secret,
        client_certificate,
        grants: _,
    } = &credential.spec;
    let proof = (type_, workload_identity, client_secret, client_certificate);
    let mut hasher = DefaultHasher::new();
    // These always become JSON.
    let identity = serde_json::to_string(&(tenant_id, client_id, proof));
    identity.unwrap_or_default().hash(&mut hasher);
    (credential.uid(), Some(hasher.finish().cast_signed()))
}

/// How the credential authenticates. Admission checks that the fields of its type are there.
fn identity(spec: &ClusterAzureCredentialSpec) -> SourceIdentity {
    let type_ = match spec.type_ {
        ClusterCredentialType::ManagedIdentity => {
            return SourceIdentity::Managed {
                client_id: spec.client_id.clone(),
            };
        }
        ClusterCredentialType::WorkloadIdentity => CredentialType::WorkloadIdentity,
        ClusterCredentialType::ClientSecret => CredentialType::ClientSecret,
        ClusterCredentialType::ClientCertificate => CredentialType::ClientCertificate,
    };
    SourceIdentity::Spec(AzureCredentialSpec {
        tenant_id: spec.tenant_id.clone(),
        client_id: spec.client_id.clone().unwrap_or_default(),
        type_,
        workload_identity: spec.workload_identity.clone(),
        client_secret: spec.client_secret.clone(),
        client_certificate: spec.client_certificate.clone(),
    })
}

impl Credentials {
    /// Whether an object may use a `ClusterAzureCredential`. The management groups of its subscription are read only if a
    /// grant that selects its namespace names some.
    ///
    /// # Errors
    ///
    /// Fails if no grant covers the use, or if it is not known.
    pub(crate) async fn check_grants(
        &self,
        key: &CredentialKey,
        usage: &CredentialUse,
        force_refresh: bool,
    ) -> Result<(), AzureError> {
        let Some(cluster) = &self.cluster else {
            return Err(switched_off());
        };
        let denied = |denial: Denial| denial.error(&key.name, &usage.namespace, &usage.subscription);
        match cluster.access(&key.name, usage, Ancestors::Unknown) {
            Access::Granted => return Ok(()),
            Access::Denied(denial) => return Err(denied(denial)),
            Access::Unknown => {}
        }
        let client = self.client(key, force_refresh).await?;
        let read = async |subscriptions: Vec<String>| client.management_groups(&subscriptions).await;
        let subscription = &usage.subscription;
        let above = cluster.ancestors.of(key, subscription, force_refresh, read).await;
        let above = above.map_err(|cause| match cause.class {
            // The credential itself does not work.
            ErrorClass::Credential => cause,
            _ => grants::unreadable(&key.name, subscription, &cause),
        })?;
        // The grants may have changed meanwhile.
        match cluster.access(&key.name, usage, Ancestors::Known(&above)) {
            Access::Granted => Ok(()),
            Access::Denied(denial) => Err(denied(denial)),
            Access::Unknown => Err(denied(Denial::Subscription)),
        }
    }

    /// Whether an object may still use its credential, as far as it is known without a request.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub(crate) fn still_granted(&self, usage: &CredentialUse) -> Result<(), AzureError> {
        let key = usage.key();
        let key = key.filter(|key| key.kind == CredentialKind::ClusterAzureCredential);
        let (Some(cluster), Some(key)) = (&self.cluster, key) else {
            return Ok(());
        };
        let above = cluster.ancestors.known(&key, &usage.subscription);
        let above = above.as_deref().map_or(Ancestors::Unknown, Ancestors::Known);
        match cluster.access(&key.name, usage, above) {
            Access::Denied(denial) => Err(denial.error(&key.name, &usage.namespace, &usage.subscription)),
            Access::Granted | Access::Unknown => Ok(()),
        }
    }
}

/// The rights of an installation in one namespace do not contain objects of the cluster.
fn switched_off() -> AzureError {
    failure(
        grants::CLUSTER_CREDENTIALS_OFF,
        "ClusterAzureCredentials are not used, because the controller watches a single namespace".into(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_edit_of_the_grants_keeps_the_client() {
        let of = |client: &str, grants: Value| {
            let object = json!({
                "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ClusterAzureCredential",
                "metadata": {"name": "a", "uid": "u"},
                "spec": {"tenantId": "t", "clientId": client, "type": "ManagedIdentity", "grants": grants},
            });
            made_from(&serde_json::from_value(object).unwrap())
        };
        let granted = json!([{"subscriptions": ["s"]}]);
        assert_eq!(of("c", json!([])), of("c", granted.clone()));
        assert_ne!(of("c", granted.clone()), of("d", granted));
    }
}
