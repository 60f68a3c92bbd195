//! A client of Azure for one credential: everything that other crates can ask of Azure.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serverprotection_core::{
    azure_credential::certificate::Validity,
    azure_error::AzureError,
    gate::WritePermit,
    reading::ReadResult,
    retry,
    security_connector::{
        self as connector, account::ListedConnector, changes::Change as ConnectorChange, desired,
        observed::Connector,
    },
    server_protection::{changes::Change, decide::Outcome, observed::Observed, reads::Reads},
};

use crate::{
    arm::Arm,
    client_certificate::ClientCertificate,
    fleet::{self, Report, ScanObserver, Target},
    identity::Identity,
    principal::{Principals, Session},
    resources::subscriptions::Subscription,
    tokens::Tokens,
};

/// How often a scan requests its first token at most.
const TOKEN_TRIES: u32 = 6;
/// Wait before the second request; doubled for each further one.
const TOKEN_BACK_OFF: Duration = Duration::from_secs(1);

/// A client for one credential. Clients of one principal share waits, quota, connector lists and the results of scans,
/// but never tokens: each method first makes sure that the client's own credential has a token.
#[derive(Debug)]
pub struct Client {
    name: String,
    principals: Arc<Principals>,
    tokens: Arc<Tokens>,
    /// Set when the credential got its first token.
    session: OnceLock<Session>,
}

impl Client {
    /// Creates a client. Sends no request.
    pub fn new(identity: Identity, principals: &Arc<Principals>) -> Self {
        Self {
            name: identity.principal(),
            tokens: Arc::new(Tokens::new(
                identity,
                Arc::clone(&principals.connection.cloud),
                Arc::clone(&principals.entra),
            )),
            principals: Arc::clone(principals),
            session: OnceLock::new(),
        }
    }

    /// Tenant and application, by which Azure counts quotas. Known without a token, so this proves nothing.
    pub fn principal(&self) -> &str {
        &self.name
    }

    /// The validity of the client certificate of the credential; `None` if it has none.
    pub fn certificate(&self) -> Option<Validity> {
        let certificate = self.tokens.identity().certificate();
        certificate.map(ClientCertificate::validity)
    }

    /// Makes sure that the credential has a token. A token that is still valid, or a refusal of some seconds ago, costs no
    /// request.
    ///
    /// # Errors
    ///
    /// If there is no token.
    pub async fn sign_in(&self) -> Result<(), AzureError> {
        self.session().await.map(drop)
    }

    /// Reads plan, settings and assessment of a subscription, and what `reads` selects.
    pub async fn observe(&self, subscription: &str, reads: &Reads) -> Observed {
        match self.session().await {
            Ok(session) => session.observe(subscription, reads).await,
            Err(failure) => Observed::without_credential(failure),
        }
    }

    /// Reads the plan of a subscription, only to prove the access to it.
    ///
    /// # Errors
    ///
    /// Fails if there is no token, or if the plan cannot be read.
    pub async fn read_plan(&self, subscription: &str) -> Result<(), AzureError> {
        self.session().await?.arm.plan(subscription).await.map(drop)
    }

    /// Makes the changes of a `ServerProtection` in order, and stops at the first error or when the permit ends. The
    /// outcome contains the changes that were made, and the one that failed with its error.
    pub async fn apply(&self, subscription: &str, changes: &[Change], permit: &WritePermit) -> Outcome {
        let Some(first) = changes.first() else {
            return Outcome::default();
        };
        match self.session().await {
            Ok(session) => session.apply(subscription, changes, permit).await,
            Err(failure) => Outcome {
                failed: Some((first.clone(), failure)),
                ..Outcome::default()
            },
        }
    }

    /// Reads the connector and what `reads` selects. If the connector does not exist, also reads the resource group and
    /// the other connectors, which its creation depends on.
    pub async fn observe_connector(
        &self,
        target: &desired::Target,
        reads: &connector::reads::Reads,
    ) -> connector::observed::Observed {
        match self.session().await {
            Ok(session) => session.observe_connector(target, reads).await,
            Err(failure) => connector::observed::Observed::without_credential(failure),
        }
    }

    /// Makes the changes of a connector in order, and stops at the first error or when the permit ends. Writes of one
    /// connector are serialized. The outcome contains the changes that were made, and the one that failed with its
    /// error.
    pub async fn apply_connector(
        &self,
        target: &desired::Target,
        changes: &[ConnectorChange],
        permit: &WritePermit,
    ) -> connector::decide::Outcome {
        let Some(first) = changes.first() else {
            return connector::decide::Outcome::default();
        };
        match self.session().await {
            Ok(session) => session.apply_connector(target, changes, permit).await,
            Err(failure) => connector::decide::Outcome {
                failed: Some((first.clone(), failure)),
                ..connector::decide::Outcome::default()
            },
        }
    }

    /// Reads the connector with a resource id; `Ok(None)` if it does not exist. For deletions, which have only the id.
    ///
    /// # Errors
    ///
    /// If there is no token, the id is not that of a security connector, or the request fails.
    pub async fn read_connector(&self, id: &str) -> ReadResult<Option<Connector>> {
        self.session().await?.read_connector(id).await
    }

    /// Deletes the connector with a resource id. Succeeds if it does not exist.
    ///
    /// # Errors
    ///
    /// If there is no token, the id is not that of a security connector, the permit has ended, or Azure refuses the
    /// deletion.
    pub async fn delete_connector(&self, id: &str, permit: &WritePermit) -> Result<(), AzureError> {
        self.session().await?.delete_connector(id, permit).await
    }

    /// Every subscription that the identity can see (docs/azure-api.md 9.5), with one request for each page.
    ///
    /// # Errors
    ///
    /// If there is no token, or a request fails.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, AzureError> {
        self.session().await?.arm.subscriptions().await
    }

    /// The GUIDs, in lower case, of the subscriptions below a management group, at any depth. `name` is the id of the
    /// group, not its display name.
    ///
    /// # Errors
    ///
    /// If there is no token, or a request fails.
    pub async fn management_group(&self, name: &str) -> Result<Vec<String>, AzureError> {
        self.session().await?.arm.management_group(name).await
    }

    /// Scans the machines of the targets, and reports the result of each one to the observer, including errors. A scan
    /// can be dropped, and two scans may run concurrently.
    pub async fn scan(&self, targets: &[Target], observer: &dyn ScanObserver) -> Report {
        match self.session_of_scan().await {
            Ok(session) => {
                let scanner = &session.principal.scanner;
                scanner.scan(&session.arm, targets, observer).await
            }
            Err(failure) => {
                fleet::fail(targets, observer, &failure);
                Report::default()
            }
        }
    }

    /// The connectors of some subscriptions, or of all that the identity can see (`None`), in no particular order.
    /// Resource Graph silently omits connectors that the identity may not read. Waits while the quota is used up, and
    /// can be dropped at any time.
    ///
    /// # Errors
    ///
    /// If there is no token, a query fails, after two retries if the error is transient, or the result is incomplete.
    pub async fn known_connectors(
        &self,
        subscriptions: Option<&[String]>,
    ) -> Result<Vec<ListedConnector>, AzureError> {
        let session = self.session().await?;
        let scanner = &session.principal.scanner;
        scanner.known_connectors(&session.arm, subscriptions).await
    }

    /// The ids of the management groups above each of these subscriptions that the identity can see; `None` for one whose
    /// groups are not in the response. Waits while the quota is used up, and can be dropped at any time.
    ///
    /// # Errors
    ///
    /// If there is no token, a query fails, after two retries if the error is transient, or the result is incomplete.
    pub async fn management_groups(
        &self,
        subscriptions: &[String],
    ) -> Result<HashMap<String, Option<Vec<String>>>, AzureError> {
        let session = self.session().await?;
        let scanner = &session.principal.scanner;
        scanner.management_groups(&session.arm, subscriptions).await
    }

    /// Drops what scans keep about the machines of subscriptions that are no longer scanned.
    pub fn retain_scanned(&self, still_scanned: impl Fn(&str) -> bool) {
        if let Some(session) = self.session.get() {
            session.principal.scanner.retain(still_scanned);
        }
    }

    /// The number of queries that the quota of Resource Graph allows now; `None` before the first response.
    pub fn quota_left(&self) -> Option<u32> {
        self.session.get()?.principal.scanner.quota_left()
    }

    /// The only way to a request or to shared state: the credential has a token now.
    pub(crate) async fn session(&self) -> Result<&Session, AzureError> {
        self.tokens.get(false).await?;
        Ok(self.session.get_or_init(|| {
            let principal = self.principals.join(&self.name);
            Session {
                arm: Arm::new(
                    self.principals.connection.clone(),
                    Arc::clone(&self.tokens),
                    Arc::clone(&principal.throttled),
                ),
                locks: Arc::clone(&self.principals.locks),
                principal,
            }
        }))
    }

    /// Retries transient errors: the next scan is far away.
    async fn session_of_scan(&self) -> Result<&Session, AzureError> {
        let mut wait = TOKEN_BACK_OFF;
        for _ in 1..TOKEN_TRIES {
            match self.session().await {
                Err(failure) if fleet::is_retried(&failure.class) => {
                    tokio::time::sleep(retry::spread(wait, fastrand::f64())).await;
                    wait *= 2;
                }
                answer => return answer,
            }
        }
        self.session().await
    }
}
