//! Returns the client of Azure for an object's `credentialRef`, if the object may use it. Clients are cached per
//! credential. Secrets are read by name and read again regularly, so that rotation needs no restart.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kube::{
    Client, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use serverprotection_api::{
    AzureCredential, AzureCredentialSpec, ClaimCredential, CredentialKind, CredentialType, TargetCredential,
};
use serverprotection_azure::{Client as AzureClient, Identity, Principals};
use serverprotection_core::{
    azure_credential::certificate::Validity,
    azure_error::{AzureError, ErrorClass},
};

use crate::{
    clock::now,
    cluster_credentials::ClusterCredentials,
    credential_use::{CredentialKey as Key, CredentialUse},
    parsed::Parsed,
    restrictions::Restrictions,
    secrets::{self, Proof, SecretSource},
    service_account::ServiceAccountTokens,
};

/// Minimum interval between two reads of a Secret, for any number of objects.
const READ_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// The API server takes in a new `RoleBinding` a moment after it is created. A refusal is final only after that.
pub(crate) const GRANT_DELAY: Duration = Duration::from_secs(1);

/// Clients of Azure by credential.
pub(crate) struct Credentials {
    pub(crate) client: Client,
    pub(crate) store: Store<Parsed<AzureCredential>>,
    /// `None` with `--watch-namespace`.
    pub(crate) cluster: Option<ClusterCredentials>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) restrictions: Arc<Restrictions>,
    /// How long a Secret that works is used without reading it again.
    pub(crate) reread_after: Duration,
    pub(crate) cached: Mutex<HashMap<Key, CachedClient>>,
    pub(crate) refresh_locks: Mutex<HashMap<Key, RefreshLock>>,
}

/// Uid and generation of a credential (for one of the cluster, a hash of what matters here). Clients are never shared between credentials; those of one principal share state
/// in `azure`.
pub(crate) type MadeFrom = (Option<String>, Option<i64>);

/// What a client is created from.
pub(crate) struct Source {
    pub(crate) made_from: MadeFrom,
    pub(crate) identity: SourceIdentity,
    /// Where its Secrets and service accounts are.
    pub(crate) namespace: String,
}

/// How the identity of a credential authenticates.
pub(crate) enum SourceIdentity {
    Spec(AzureCredentialSpec),
    Managed { client_id: Option<String> },
}

/// Held by the reconcile that reads a Secret while others wait. Contains the start and the error of the last failed
/// read.
type RefreshLock = Arc<tokio::sync::Mutex<Option<(Instant, MadeFrom, AzureError)>>>;

#[derive(Clone)]
pub(crate) struct CachedClient {
    client: Arc<AzureClient>,
    /// The credential that the client was created from.
    made_from: MadeFrom,
    proof: Option<Proof>,
    read_at: Instant,
}

impl Credentials {
    /// Whether an object that was just created need not wait for its credential. It never waits for one of the cluster: a
    /// delay would tell whether that exists.
    pub(crate) fn contains(&self, usage: &CredentialUse) -> bool {
        let own = usage.key();
        let own = own.filter(|key| key.kind == CredentialKind::AzureCredential);
        own.is_none_or(|key| self.own(&key).is_some())
    }

    /// The `AzureCredential` of this key.
    fn own(&self, key: &Key) -> Option<Arc<Parsed<AzureCredential>>> {
        let own = key.kind == CredentialKind::AzureCredential;
        let reference = || ObjectRef::new(&key.name).within(&key.namespace);
        own.then(|| self.store.get(&reference()))?
    }

    fn uid(&self, key: &Key) -> Option<String> {
        match key.kind {
            CredentialKind::AzureCredential => self.own(key)?.uid(),
            CredentialKind::ClusterAzureCredential => self.cluster.as_ref()?.uid(&key.name),
        }
    }

    /// Returns the client for an object. Whether it may use its credential is decided first, before a token is
    /// requested. `force_refresh` reads the Secret again because the last use failed.
    ///
    /// # Errors
    ///
    /// Fails if the credential is missing or invalid, if no grant lets the object use it, or if its Secret cannot be
    /// read.
    pub(crate) async fn client_for(
        &self,
        usage: &CredentialUse,
        force_refresh: bool,
    ) -> Result<Arc<AzureClient>, AzureError> {
        let Some(reference) = &usage.credential else {
            // Admission rejects this, but an object created under an older schema may still exist.
            return Err(failure(
                "CredentialMissing",
                "The ServerProtection has no spec.credentialRef".into(),
            ));
        };
        let Some(key) = usage.key() else {
            let kind = &reference.kind;
            return Err(failure(
                "CredentialUnreadable",
                format!("This version of the controller does not know the kind {kind} of the credential"),
            ));
        };
        if key.kind == CredentialKind::ClusterAzureCredential {
            self.check_grants(&key, usage, force_refresh).await?;
        }
        self.client(&key, force_refresh).await
    }

    /// Returns the client of a credential, for itself.
    ///
    /// # Errors
    ///
    /// Fails if the credential is missing or invalid, or if its Secret cannot be read.
    pub(crate) async fn client(
        &self,
        key: &Key,
        force_refresh: bool,
    ) -> Result<Arc<AzureClient>, AzureError> {
        let key = key.clone();
        let Source {
            made_from,
            identity,
            namespace,
        } = self.source(&key)?;
        let cached = self.cached(&key).filter(|cached| cached.made_from == made_from);
        let spec = match &identity {
            SourceIdentity::Spec(spec) => spec,
            SourceIdentity::Managed { client_id } => {
                if let Some(cached) = cached {
                    return Ok(cached.client);
                }
                let client_id = client_id.clone();
                return Ok(self.keep(key, Identity::ManagedIdentity { client_id }, made_from, None));
            }
        };
        let secret = match (spec.type_, &spec.client_secret, &spec.client_certificate) {
            (CredentialType::ClientSecret, Some(secret), _) => {
                Some(SecretSource::ClientSecret(&secret.secret_ref))
            }
            (CredentialType::ClientCertificate, _, Some(certificate)) => {
                Some(SecretSource::ClientCertificate(&certificate.secret_ref))
            }
            _ => None,
        };
        match (spec.type_, &spec.workload_identity, secret) {
            (CredentialType::WorkloadIdentity, Some(workload), _) => {
                if let Some(cached) = cached {
                    return Ok(cached.client);
                }
                let identity = Identity::Federated {
                    tenant_id: spec.tenant_id.clone(),
                    client_id: spec.client_id.clone(),
                    assertions: Arc::new(ServiceAccountTokens {
                        client: self.client.clone(),
                        restrictions: Arc::clone(&self.restrictions),
                        namespace,
                        name: workload.service_account_name.clone(),
                    }),
                };
                Ok(self.keep(key, identity, made_from, None))
            }
            (CredentialType::ClientSecret | CredentialType::ClientCertificate, _, Some(secret)) => {
                // A renewed certificate may be there already.
                let expired = |validity: Validity| validity.until <= now();
                let certificate = cached.as_ref().and_then(|cached| cached.client.certificate());
                let trusted = if force_refresh || certificate.is_some_and(expired) {
                    READ_AT_MOST_EVERY
                } else {
                    self.reread_after
                };
                if let Some(cached) = cached.filter(|cached| cached.read_at.elapsed() < trusted) {
                    return Ok(cached.client);
                }
                self.read_in_turn(key, made_from, spec, &namespace, secret).await
            }
            // Admission rejects this, but an object created under an older schema may still exist.
            _ => Err(failure(
                "CredentialInvalid",
                format!("{key} lacks the field for its type"),
            )),
        }
    }

    /// Reads the Secret once for all reconciles that wait for it. Several clients of one identity would each request
    /// tokens and be throttled.
    async fn read_in_turn(
        &self,
        key: Key,
        made_from: MadeFrom,
        spec: &AzureCredentialSpec,
        namespace: &str,
        source: SecretSource<'_>,
    ) -> Result<Arc<AzureClient>, AzureError> {
        let asked = Instant::now();
        let refresh_lock = self.refresh_lock(&key);
        let mut last_failure = refresh_lock.lock().await;
        let cached = self.cached(&key).filter(|cached| cached.made_from == made_from);
        if let Some(cached) = cached.as_ref().filter(|cached| cached.read_at > asked) {
            return Ok(Arc::clone(&cached.client));
        }
        // A read that started earlier may have missed a fix made since.
        let shared = |(began, of, _): &&(Instant, MadeFrom, AzureError)| *began > asked && *of == made_from;
        if let Some((.., failure)) = last_failure.as_ref().filter(shared) {
            return Err(failure.clone());
        }
        let began = Instant::now();
        let proof = match secrets::read(&self.client, namespace, source).await {
            Ok(proof) => proof,
            Err(failure) => {
                // The API server is unavailable, but the cached proof may still work.
                if let Some(cached) = cached.filter(|_| failure.class.is_transient()) {
                    return Ok(cached.client);
                }
                *last_failure = Some((began, made_from, failure.clone()));
                return Err(failure);
            }
        };
        if let Some(cached) = cached
            && same(cached.proof.as_ref(), Some(&proof))
        {
            self.touch(&key);
            return Ok(cached.client);
        }
        let identity = proof.identity(spec.tenant_id.clone(), spec.client_id.clone());
        Ok(self.keep(key, identity, made_from, Some(proof)))
    }

    /// The validity of the client certificate that was read last, if the credential has one.
    pub(crate) fn certificate(&self, key: &Key) -> Option<Validity> {
        self.lock().get(key)?.client.certificate()
    }

    /// The credential with its uid, as a claim records it.
    pub(crate) fn identified(&self, namespace: &str, credential: &TargetCredential) -> ClaimCredential {
        let uid = Key::of(credential, namespace).and_then(|key| self.uid(&key));
        ClaimCredential {
            kind: credential.kind.clone(),
            name: credential.name.clone(),
            uid,
        }
    }

    fn cached(&self, key: &Key) -> Option<CachedClient> {
        self.lock().get(key).cloned()
    }

    fn refresh_lock(&self, key: &Key) -> RefreshLock {
        let mut refresh_locks = self
            .refresh_locks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(refresh_locks.entry(key.clone()).or_default())
    }

    fn touch(&self, key: &Key) {
        if let Some(cached) = self.lock().get_mut(key) {
            cached.read_at = Instant::now();
        }
    }

    fn keep(
        &self,
        key: Key,
        identity: Identity,
        made_from: MadeFrom,
        proof: Option<Proof>,
    ) -> Arc<AzureClient> {
        let mut all = self.lock();
        // Another reconcile was faster.
        if let Some(cached) = all
            .get(&key)
            .filter(|cached| cached.made_from == made_from && same(cached.proof.as_ref(), proof.as_ref()))
        {
            return Arc::clone(&cached.client);
        }
        let client = Arc::new(AzureClient::new(identity, &self.principals));
        let cached = CachedClient {
            client: Arc::clone(&client),
            made_from,
            proof,
            read_at: Instant::now(),
        };
        all.insert(key, cached);
        client
    }

    /// Drops the client of a deleted credential.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
        let mut refresh_locks = self
            .refresh_locks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        refresh_locks.remove(key);
        drop(refresh_locks);
        if let Some(cluster) = &self.cluster {
            cluster.ancestors.forget(key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, CachedClient>> {
        self.cached
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What the client of a credential is created from.
    fn source(&self, key: &Key) -> Result<Source, AzureError> {
        let cluster = match key.kind {
            CredentialKind::AzureCredential => None,
            CredentialKind::ClusterAzureCredential => self.cluster.as_ref(),
        };
        if let Some(cluster) = cluster {
            return cluster.source(key);
        }
        let known = self
            .own(key)
            .ok_or_else(|| failure("CredentialNotFound", format!("{key} does not exist")))?;
        match &*known {
            Parsed::Valid(credential) => Ok(Source {
                made_from: (credential.uid(), credential.metadata.generation),
                identity: SourceIdentity::Spec(credential.spec.clone()),
                namespace: key.namespace.clone(),
            }),
            Parsed::Invalid(invalid) => Err(unreadable(key, &invalid.error)),
        }
    }
}

fn same(one: Option<&Proof>, other: Option<&Proof>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The error of a credential that this build cannot parse.
pub(crate) fn unreadable(key: &Key, error: &str) -> AzureError {
    let message = format!("This version of the controller cannot read {key}: {error}");
    failure("CredentialUnreadable", message)
}

pub(crate) fn failure(code: &str, message: String) -> AzureError {
    AzureError {
        class: ErrorClass::Credential,
        code: code.into(),
        message,
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}
