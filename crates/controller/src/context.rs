//! What every reconcile needs.

use std::{sync::Arc, time::Duration};

use futures::channel::mpsc::UnboundedReceiver;
use kube::{Client, runtime::reflector::ObjectRef};
use serverprotection_api::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};
use serverprotection_core::{claims::Rules, gate::Gate, timeouts::Timeouts};
use tokio_util::sync::CancellationToken;

use crate::{
    azure_credential::CredentialUsers, claims::Claims, connector_index::ConnectorIndex,
    credential_use::CredentialKey, credentials::Credentials, event_recorder::EventRecorder, fleet::Fleet,
    kind::Kind, metrics::Metrics, namespaces, parsed::Parsed, restrictions::Restrictions, state::StateStore,
    trigger::Trigger, watch::Listed,
};

/// Shared by all reconciles.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) protections: Controlled<ServerProtection>,
    pub(crate) connectors: Controlled<SecurityConnector>,
    pub(crate) azure_credentials: Controlled<AzureCredential>,
    pub(crate) cluster_azure_credentials: Controlled<ClusterAzureCredential>,
    pub(crate) connector_index: Arc<ConnectorIndex>,
    pub(crate) credential_users: Arc<CredentialUsers>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) restrictions: Arc<Restrictions>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) gate: Gate,
    /// Cancelled when the process ends: running reconciles finish what they began, and begin nothing else.
    pub(crate) stop: CancellationToken,
    pub(crate) settings: Settings,
    pub(crate) recorder: EventRecorder,
    pub(crate) metrics: Arc<Metrics>,
}

impl Context {
    /// Makes the objects that use a credential due, and their connectors.
    pub(crate) fn trigger_users(&self, credential: &CredentialKey) {
        self.trigger_all(self.credential_users.of(credential));
    }

    /// The same for the objects of a namespace that use any `ClusterAzureCredential`: its labels changed.
    pub(crate) fn trigger_cluster_users(&self, namespace: &str) {
        self.trigger_all(self.credential_users.of_cluster_in(namespace));
    }

    /// The lists that every reconcile needs to find its credential, by kind.
    pub(crate) fn credential_lists(&self) -> Vec<(&'static str, Listed)> {
        let mut lists = vec![(AzureCredential::NAME, self.azure_credentials.listed.clone())];
        if let Some(cluster) = &self.credentials.cluster {
            let listed = self.cluster_azure_credentials.listed.clone();
            lists.push((ClusterAzureCredential::NAME, listed));
            lists.push((namespaces::NAME, cluster.namespaces.listed.clone()));
        }
        lists
    }

    fn trigger_all(&self, protections: Vec<(String, String)>) {
        for (namespace, name) in protections {
            self.protections.trigger.reconcile(&namespace, &name);
            for connector in self.connector_index.names(&namespace, &name) {
                self.connectors.trigger.reconcile(&namespace, &connector);
            }
        }
    }
}

/// The installation's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) timeouts: Timeouts,
    /// Replaces the interval of every object (for tests).
    pub(crate) reconcile_every: Option<Duration>,
    /// Name of the Azure cloud if it does not support connectors.
    pub(crate) without_connectors: Option<&'static str>,
}

/// What the controller of one kind knows about its objects. Clones share it.
#[derive(Debug)]
pub(crate) struct Controlled<K: Kind> {
    pub(crate) claims: Arc<Claims>,
    pub(crate) states: Arc<StateStore<K>>,
    pub(crate) trigger: Trigger<K>,
    /// Set when all objects are listed.
    pub(crate) listed: Listed,
}

impl<K: Kind> Clone for Controlled<K> {
    fn clone(&self) -> Self {
        Self {
            claims: Arc::clone(&self.claims),
            states: Arc::clone(&self.states),
            trigger: self.trigger.clone(),
            listed: self.listed.clone(),
        }
    }
}

impl<K: Kind> Controlled<K> {
    /// Also returns the queue of triggered objects.
    pub(crate) fn new(
        rules: Rules,
        elected: CancellationToken,
    ) -> (Self, UnboundedReceiver<ObjectRef<Parsed<K>>>) {
        let states = Arc::new(StateStore::default());
        let (trigger, triggered) = Trigger::new(Arc::clone(&states), elected);
        let controlled = Self {
            claims: Arc::new(Claims::new(rules)),
            states,
            trigger,
            listed: Listed::default(),
        };
        (controlled, triggered)
    }

    /// This process becomes the leader: it forgets what it knew as a standby, and knows all objects when it has listed
    /// them once more (R6).
    pub(crate) fn begin_to_lead(&self) {
        self.states.clear();
        self.claims.forget();
        self.listed.begin_to_lead();
    }
}

/// A kind whose objects the context knows.
pub(crate) trait InContext: Kind {
    /// What the controller of this kind knows.
    fn own(context: &Context) -> &Controlled<Self>;

    /// The state of its objects.
    fn states(context: &Context) -> &StateStore<Self> {
        &Self::own(context).states
    }
}

impl InContext for ServerProtection {
    fn own(context: &Context) -> &Controlled<Self> {
        &context.protections
    }
}

impl InContext for SecurityConnector {
    fn own(context: &Context) -> &Controlled<Self> {
        &context.connectors
    }
}

impl InContext for AzureCredential {
    fn own(context: &Context) -> &Controlled<Self> {
        &context.azure_credentials
    }
}

impl InContext for ClusterAzureCredential {
    fn own(context: &Context) -> &Controlled<Self> {
        &context.cluster_azure_credentials
    }
}
