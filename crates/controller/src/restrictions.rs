//! Whether admission policies restrict this process. It may request tokens of service accounts and patch connectors,
//! which is more than it needs; the policies of `deploy/base` refuse the rest. A policy that matches nobody would go
//! unnoticed, so the process sends requests that must be refused (dry runs), and closes the path of each that is granted.

mod connectors;
mod finding;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams, core::PartialObjectMeta};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use serverprotection_api::SecurityConnector;
use serverprotection_core::metrics;
use tokio_util::sync::CancellationToken;

use crate::series::register;
use finding::Finding;

/// How long the policies may take to come into effect after the start.
const GRACE: Duration = Duration::from_secs(60);
/// The delay between two tries at the start.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The time between two checks while the policies refuse.
const REPEAT: Duration = Duration::from_secs(600);
/// The time between two checks otherwise.
const REPEAT_SOON: Duration = Duration::from_secs(60);
/// An audience for which the controller never needs a token.
const FORBIDDEN_AUDIENCE: &str = "https://serverprotection.dev/self-test";

/// What a policy restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Requests for tokens of service accounts.
    Tokens,
    /// Patches of connectors, for the finalizer.
    Finalizers,
}

impl Path {
    const ALL: [Self; 2] = [Self::Tokens, Self::Finalizers];

    const fn index(self) -> usize {
        match self {
            Self::Tokens => 0,
            Self::Finalizers => 1,
        }
    }

    /// Value of the label `policy`.
    const fn label(self) -> &'static str {
        match self {
            Self::Tokens => "token",
            Self::Finalizers => "finalizer",
        }
    }

    /// Why the path is closed, and what to do.
    const fn closed(self, finding: Option<Finding>) -> &'static str {
        match (self, finding) {
            (Self::Tokens, Some(Finding::GrantedToUser)) => {
                "the controller does not run as a service account, and the policy of deploy/base/token_policy.yaml restricts the token requests of service accounts only, so it sends none: set --allow-unrestricted-tokens to run with the kubeconfig of an administrator"
            }
            (Self::Tokens, _) => {
                "no admission policy restricts the controller's token requests, so it sends none: install the policy of deploy/base/token_policy.yaml and its binding, or set --allow-unrestricted-tokens to run without it"
            }
            (Self::Finalizers, _) => {
                "no admission policy restricts the controller's patches of connectors, so it sends none: install the policy of deploy/base/finalizer_policy.yaml and its binding, or set --allow-unrestricted-tokens to run without it"
            }
        }
    }
}

/// What is known about a path.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The last answer, if there was one.
    restricted: Option<bool>,
    /// What it was.
    finding: Option<Finding>,
    /// When it must be checked again.
    next: Option<Instant>,
}

impl Known {
    /// Takes in a finding. An answer stays valid while later ones are missing.
    fn record(&mut self, finding: Finding, now: Instant) {
        match finding {
            Finding::RefusedByPolicy | Finding::Refused => self.restricted = Some(true),
            Finding::Granted | Finding::GrantedToUser | Finding::GrantedInPart => {
                self.restricted = Some(false);
            }
            Finding::Unknown => {}
        }
        if finding != Finding::Unknown {
            self.finding = Some(finding);
        }
        let wait = if finding == Finding::RefusedByPolicy {
            REPEAT
        } else {
            REPEAT_SOON
        };
        self.next = now.checked_add(wait);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PolicyLabel {
    policy: &'static str,
}

/// The gauge of the policies. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyGauges(Family<PolicyLabel, Gauge>);

impl PolicyGauges {
    /// A series appears when its policy was checked.
    pub(crate) fn register(&self, registry: &mut Registry) {
        register(registry, &metrics::ADMISSION_POLICY_ENFORCED, self.0.clone());
    }

    pub(crate) fn set(&self, path: Path, enforced: bool) {
        let label = PolicyLabel { policy: path.label() };
        self.0.get_or_create(&label).set(i64::from(enforced));
    }
}

/// A forbidden request was granted at the start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unrestricted(&'static str);

/// Checks the policies, and knows which paths are open.
pub(crate) struct Restrictions {
    client: Client,
    watch_namespace: Option<String>,
    /// `--allow-unrestricted-tokens`: nothing is checked, and all paths are open.
    unchecked: bool,
    /// The checks at the start are complete.
    verified: AtomicBool,
    known: Mutex<[Known; 2]>,
    gauges: PolicyGauges,
}

impl Restrictions {
    pub(crate) fn new(
        client: Client,
        watch_namespace: Option<&str>,
        unchecked: bool,
        gauges: PolicyGauges,
    ) -> Self {
        Self {
            client,
            watch_namespace: watch_namespace.map(str::to_owned),
            unchecked,
            verified: AtomicBool::new(false),
            known: Mutex::default(),
            gauges,
        }
    }

    /// The client whose requests the policies restrict.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until the policies are in effect, at most a minute. If the API server does not answer, the paths stay
    /// closed until it does.
    ///
    /// # Errors
    ///
    /// Fails if a forbidden request is still granted then.
    pub(crate) async fn verify_at_start(&self) -> Result<(), Unrestricted> {
        self.verify_within(GRACE).await?;
        self.verified.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What the start waits for, while it checks the policies.
    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        if self.verified.load(Ordering::Relaxed) {
            return None;
        }
        let open = |path: &Path| self.get(*path).restricted == Some(false);
        let closed = Path::ALL.into_iter().find(open).map(|path| self.closed(path));
        Some(closed.unwrap_or("waiting for the check of the admission policies that restrict the controller"))
    }

    async fn verify_within(&self, grace: Duration) -> Result<(), Unrestricted> {
        if self.unchecked {
            tracing::warn!(
                "--allow-unrestricted-tokens: the controller does not check that admission policies restrict it"
            );
            return Ok(());
        }
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let (tokens, finalizers) = (self.check_tokens().await, self.check_connectors().await);
            let granted = match (tokens, finalizers) {
                (Finding::Granted | Finding::GrantedToUser, _) => Some(Path::Tokens),
                (_, Some(Finding::Granted)) => Some(Path::Finalizers),
                _ => None,
            };
            // Connectors belong to users. One that cannot be checked delays nothing: the path stays closed.
            let is_complete = tokens != Finding::Unknown && finalizers != Some(Finding::GrantedInPart);
            if granted.is_none() && is_complete {
                return Ok(());
            }
            if tokens == Finding::GrantedToUser || began.elapsed() >= grace {
                if let Some(path) = granted {
                    return Err(Unrestricted(self.closed(path)));
                }
                if tokens == Finding::Unknown {
                    tracing::error!(
                        "cannot check the admission policies that restrict the controller; it requests no tokens of service accounts until it can"
                    );
                }
                return Ok(());
            }
            if wait == FIRST_WAIT {
                tracing::info!(
                    "waiting up to {} seconds for the admission policies to restrict the controller",
                    grace.as_secs()
                );
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    /// Repeats the checks until `stop`.
    pub(crate) async fn keep_verifying(&self, stop: &CancellationToken) {
        if self.unchecked {
            return stop.cancelled().await;
        }
        loop {
            let next = self.next_check().unwrap_or(REPEAT_SOON);
            if stop.run_until_cancelled(tokio::time::sleep(next)).await.is_none() {
                return;
            }
            let now = Instant::now();
            if self.get(Path::Tokens).is_due(now) {
                self.check_tokens().await;
            }
            if self.get(Path::Finalizers).is_due(now) && self.check_connectors().await.is_none() {
                self.record(Path::Finalizers, Finding::Unknown);
            }
        }
    }

    /// The time until the next check of any path.
    fn next_check(&self) -> Option<Duration> {
        let now = Instant::now();
        let next = Path::ALL.map(|path| self.get(path).next);
        let first = next.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(now).max(FIRST_WAIT))
    }

    /// Whether tokens of service accounts may be requested.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub(crate) fn tokens(&self) -> Result<(), &'static str> {
        self.open(Path::Tokens)
    }

    /// Whether this connector may be patched. While the path is closed, the policy is checked with the connector itself:
    /// there may have been none to check it with before.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub(crate) async fn finalizers(
        &self,
        connectors: &Api<PartialObjectMeta<SecurityConnector>>,
        name: &str,
    ) -> Result<(), kube::Error> {
        let known = self.get(Path::Finalizers);
        let closed = known.restricted != Some(true);
        if !self.unchecked && (closed || known.is_due(Instant::now())) {
            self.check_connector(connectors, name).await;
        }
        self.open(Path::Finalizers)
            .map_err(|closed| kube::Error::Service(closed.into()))
    }

    fn open(&self, path: Path) -> Result<(), &'static str> {
        if self.unchecked || self.get(path).restricted == Some(true) {
            Ok(())
        } else {
            Err(self.closed(path))
        }
    }

    fn closed(&self, path: Path) -> &'static str {
        path.closed(self.get(path).finding)
    }

    /// Requests a token for an audience that the policy must refuse.
    async fn check_tokens(&self) -> Finding {
        let finding = match self.own_name().await {
            Ok(Some((namespace, account))) => self.forbidden_token(&namespace, &account).await,
            // The policies apply to service accounts only. No other user who may request tokens is restricted.
            Ok(None) => match self.may_request_tokens().await {
                Ok(true) => Finding::GrantedToUser,
                Ok(false) => Finding::Refused,
                Err(_) => Finding::Unknown,
            },
            Err(_) => Finding::Unknown,
        };
        self.record(Path::Tokens, finding);
        finding
    }

    /// In the namespace that is watched, because the rights of the process may end there; otherwise for itself.
    async fn forbidden_token(&self, namespace: &str, account: &str) -> Finding {
        if let Some(watched) = self
            .watch_namespace
            .as_deref()
            .filter(|watched| *watched != namespace)
        {
            let finding = self.token(watched, "default").await;
            if finding != Finding::Unknown {
                return finding;
            }
        }
        self.token(namespace, account).await
    }

    async fn token(&self, namespace: &str, account: &str) -> Finding {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![FORBIDDEN_AUDIENCE.into()],
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        Finding::of(&accounts.create_token_request(account, &dry_run, &request).await)
    }

    /// Namespace and name of the service account that this process acts as; `None` for other users.
    async fn own_name(&self) -> Result<Option<(String, String)>, kube::Error> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let answer = reviews.create(&PostParams::default(), &review).await?;
        let user = answer.status.and_then(|status| status.user_info);
        let name = user.and_then(|user| user.username).unwrap_or_default();
        let own = name.strip_prefix("system:serviceaccount:");
        Ok(own
            .and_then(|own| own.split_once(':'))
            .map(|(namespace, account)| (namespace.to_owned(), account.to_owned())))
    }

    async fn may_request_tokens(&self) -> Result<bool, kube::Error> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let attributes = ResourceAttributes {
            namespace: self.watch_namespace.clone(),
            verb: Some("create".into()),
            resource: Some("serviceaccounts".into()),
            subresource: Some("token".into()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    fn get(&self, path: Path) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(path.index()).copied().unwrap_or_default()
    }

    fn record(&self, path: Path, finding: Finding) {
        let before = self.get(path).restricted;
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = all.get_mut(path.index()) else {
            return;
        };
        known.record(finding, Instant::now());
        let after = known.restricted;
        drop(all);
        self.gauges.set(path, after == Some(true));
        match after {
            Some(false) if before != after => tracing::error!(policy = path.label(), "{}", self.closed(path)),
            Some(true) if before == Some(false) => {
                tracing::info!(
                    policy = path.label(),
                    "the admission policy restricts the controller again"
                );
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
