//! Load: other writers change Azure all the time, and the operator repairs each change.

use crate::{setting::Cluster, tenant::Tenant};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{Error, emulator::TENANT, grants, team::FIELD_MANAGER, wait::eventually};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Time limit of a repair: a controller that stops, another one that takes over, and the repair itself.
const REPAIRED: Duration = Duration::from_secs(90);
/// Namespaces, each with subscriptions that are changed one after the other.
const TENANTS: usize = 4;
/// Subscriptions of each namespace.
const SUBSCRIPTIONS: usize = 16;
/// The changes of each subscription. A field that is changed three times counts as contested and is left alone.
const CHANGES: [(&str, bool); 4] = [
    ("WDATP", false),
    ("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW", true),
    ("WDATP", false),
    ("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW", true),
];
/// Pause between two changes of a namespace.
const PAUSE: Duration = Duration::from_millis(1500);
/// Secret of a tenant's application.
const SECRET: &str = "load";

/// The running load.
pub(crate) struct Load {
    /// The applications of the tenants.
    pub(crate) principals: Vec<String>,
    stop: Arc<AtomicBool>,
    loops: JoinSet<Result<Vec<Duration>, Error>>,
}

/// What happened.
#[derive(Debug)]
pub(crate) struct Repairs {
    /// Number of repaired changes.
    pub(crate) count: usize,
    /// The time of the slowest repair.
    pub(crate) longest: Duration,
}

impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, longest } = self;
        write!(
            f,
            "{count} changes repaired, the slowest after {:.1} s",
            longest.as_secs_f64()
        )
    }
}

impl Load {
    /// Creates the tenants, waits until they are Ready, and begins to change their subscriptions.
    pub(crate) async fn start(cluster: &Arc<Cluster>) -> Result<Self, Error> {
        let stop: Arc<AtomicBool> = Arc::default();
        let mut loops = JoinSet::new();
        let tenants = try_join_all((0..TENANTS).map(|_| create(cluster))).await?;
        let principals = tenants.iter().map(|tenant| tenant.client_id.clone()).collect();
        for tenant in tenants {
            let (cluster, stop) = (cluster.clone(), stop.clone());
            loops.spawn(async move {
                change_all(&cluster, &tenant.namespace, &tenant.subscriptions, &stop).await
            });
        }
        Ok(Self {
            principals,
            stop,
            loops,
        })
    }

    /// Ends the load. Fails if a change was not repaired in time, or if a subscription had another plan at any time.
    pub(crate) async fn finish(mut self) -> Result<Repairs, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(ended) = self.loops.join_next().await {
            all.extend(ended.map_err(|error| Error::Other(error.to_string()))??);
        }
        Ok(Repairs {
            count: all.len(),
            longest: all.into_iter().max().unwrap_or_default(),
        })
    }
}

/// A namespace whose subscriptions are changed.
struct Changed {
    namespace: String,
    client_id: String,
    subscriptions: Vec<String>,
}

/// Creates a namespace with its subscriptions, and waits until all of them are Ready.
async fn create(cluster: &Cluster) -> Result<Changed, Error> {
    let tenant = Tenant::create(cluster, "load").await?;
    let change = json!({"secrets": [SECRET]});
    cluster.emulator.principal(&tenant.client_id, change).await?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &tenant.namespace);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET},
        "stringData": {"client-secret": SECRET}});
    secrets
        .patch(SECRET, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(secret))
        .await?;
    grants::secrets(&cluster.client, &tenant.namespace).await?;
    let reference = json!({"secretRef": {"name": SECRET, "key": "client-secret"}});
    tenant
        .credential(json!({"type": "ClientSecret", "clientSecret": reference}))
        .await?;
    let subscriptions: Vec<String> = (0..SUBSCRIPTIONS).map(|_| Uuid::new_v4().to_string()).collect();
    let seed = |id: &String| {
        json!({"subscriptionId": id, "tenantId": TENANT, "displayName": id,
            "roleAssignments": {tenant.client_id.clone(): ["Owner"]}})
    };
    let seeds: Vec<Value> = subscriptions.iter().map(seed).collect();
    cluster.emulator.seed(json!({"subscriptions": seeds})).await?;
    for id in &subscriptions {
        tenant.protect(id, json!({"subscriptionId": id})).await?;
    }
    for id in &subscriptions {
        tenant
            .protections()
            .until(id, "Ready", "True", crate::TIMEOUT)
            .await?;
    }
    Ok(Changed {
        namespace: tenant.namespace,
        client_id: tenant.client_id,
        subscriptions,
    })
}

/// Changes one subscription after the other, and waits for each repair, until the end.
async fn change_all(
    cluster: &Cluster,
    namespace: &str,
    subscriptions: &[String],
    stop: &AtomicBool,
) -> Result<Vec<Duration>, Error> {
    let mut repairs = Vec::new();
    for (setting, value) in CHANGES {
        for subscription in subscriptions {
            if stop.load(Ordering::Relaxed) {
                return Ok(repairs);
            }
            repairs.push(change(cluster, namespace, subscription, (setting, value)).await?);
            tokio::time::sleep(PAUSE).await;
        }
    }
    Err(Error::Other(format!("{namespace}: the load ended too early")))
}

/// Changes a setting behind the back of the operator. Returns how long the repair took.
async fn change(
    cluster: &Cluster,
    namespace: &str,
    subscription: &str,
    (setting, value): (&str, bool),
) -> Result<Duration, Error> {
    let began = Instant::now();
    let change = json!({format!("settings.{setting}"): value});
    cluster.emulator.set(subscription, change).await?;
    Tenant::protections_of(cluster, namespace)
        .request(subscription)
        .await?;
    eventually("the repair of a change", REPAIRED, || async {
        let azure = cluster.emulator.get(subscription).await;
        let azure = azure.map_err(|error| error.to_string())?;
        if let Err(error) = protected(&azure) {
            return Ok(Err(error));
        }
        let found = azure
            .pointer("/settings")
            .and_then(|settings| settings.get(setting));
        let repaired = found.is_some_and(|found| *found != json!(value));
        let state = || format!("{setting} of {namespace}/{subscription} is {found:?}");
        repaired.then_some(Ok(())).ok_or_else(state)
    })
    .await??;
    Ok(began.elapsed())
}

/// Fails if the plan of a subscription is not P2.
fn protected(azure: &Value) -> Result<(), Error> {
    let plan = azure.pointer("/pricings/VirtualMachines");
    let tier = plan.and_then(|plan| plan.get("pricingTier"));
    let sub_plan = plan.and_then(|plan| plan.get("subPlan"));
    if tier == Some(&json!("Standard")) && sub_plan == Some(&json!("P2")) {
        return Ok(());
    }
    Err(Error::Other(format!("unprotected: {plan:?}")))
}
