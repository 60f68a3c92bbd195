//! The largest objects that admission allows, of one tenant: how much memory they take, also after a restart, when all
//! of them are listed at once.

use crate::{
    arguments::Arguments,
    parts::{self, Parts, Setup},
    progress::{Progress, step},
    report,
    table::{Rows, count, megabytes, ratio, seconds},
    world::World,
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, core::DynamicObject};
use serde::Serialize;
use serde_json::{Value, json};
use serverprotection_tests::{Error, objects, recorder::resource};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// The namespace of the objects.
const TENANT: &str = "hostile";
/// Concurrent creates. Each has more than half a megabyte.
const AT_ONCE: usize = 4;
/// Time limit until the controller is ready, and until it has the objects.
const LIMIT: Duration = Duration::from_secs(300);
/// The limit of the container (deploy/base/deployment.yaml), in bytes.
const CONTAINER: u64 = 256 << 20;
/// Other text that an object may have: annotations.
const ANNOTATIONS: usize = 200 * 1024;

/// Measurements of one number of objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) objects: usize,
    /// Text of all specs.
    pub(crate) spec_bytes: u64,
    /// Peak of the process in which the objects were created.
    pub(crate) peak: u64,
    /// Resident memory of the second process, and its peak.
    pub(crate) resident: u64,
    pub(crate) restart_peak: u64,
    /// Start of the second process until it is ready.
    pub(crate) ready_seconds: f64,
    pub(crate) breaches: Vec<Value>,
}

/// Runs one number of objects from start to end.
pub(crate) async fn measure(objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    // One object that is as usual shows that the controller works.
    let world = World {
        objects: 1,
        namespaces: 1,
    };
    let setup = Setup {
        world,
        seed: world.seed_in_sync(),
        set: None,
        flags: Vec::new(),
        connectors: 0,
        name: format!("{objects} largest objects"),
    };
    parts::run(setup, arguments, async |parts| {
        run(parts, objects, arguments).await
    })
    .await
}

async fn run(parts: &mut Parts, objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let name = parts.name.clone();
    parts.until_ready(&Progress::of(1), LIMIT).await?;
    let progress = Progress::of(objects);
    step(
        &format!("{name}: creating them"),
        &progress,
        create(parts, objects, &progress),
    )
    .await?;
    let progress = Progress::of(0);
    step(
        &format!("{name}: waiting until the controller has them"),
        &progress,
        known(parts, objects),
    )
    .await?;
    let peak = parts.controller.usage()?.peak;
    let restarted = async {
        let began = Instant::now();
        parts.restart(Vec::new(), arguments).await?;
        parts.controller.wait_ready(LIMIT).await?;
        let ready = began.elapsed();
        known(parts, objects).await?;
        Ok::<_, Error>(ready)
    };
    let (ready, _) = step(
        &format!("{name}: restarting the controller"),
        &progress,
        restarted,
    )
    .await?;
    // What the reconciles that follow need, too.
    parts.wait(Duration::from_secs(10)).await?;
    let usage = parts.controller.usage()?;
    Ok(Figures {
        objects,
        spec_bytes: count(spec(0).to_string().len()) * count(objects),
        peak,
        resident: usage.resident,
        restart_peak: usage.peak,
        ready_seconds: ready.as_secs_f64(),
        breaches: parts.emulator.breaches().await?,
    })
}

/// Creates the objects of the hostile tenant. They have no credential, and most of their text is of no use.
async fn create(parts: &Parts, objects: usize, progress: &Progress) -> Result<(), Error> {
    let client = parts.plane.admin().await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    objects::create(&namespaces, json!({"metadata": {"name": TENANT}})).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(client, TENANT, &resource());
    stream::iter(0..objects)
        .map(|number| {
            let api = api.clone();
            async move {
                let body = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
                    "metadata": {"name": format!("largest-{number}"),
                        "annotations": {"example.com/text": "x".repeat(ANNOTATIONS)}},
                    "spec": spec(number)});
                objects::create(&api, body).await?;
                progress.done.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Error>(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Waits until the controller counts the objects.
async fn known(parts: &mut Parts, objects: usize) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let labels = ["kind=\"ServerProtection\""];
        let found = parts
            .controller
            .metric("serverprotection_objects", &labels)
            .await?;
        let found = found.unwrap_or_default();
        if found >= f64::from(u32::try_from(objects).unwrap_or(u32::MAX)) {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            return Err(Error::Other(format!(
                "the controller has {found} objects after {LIMIT:?}"
            )));
        }
        parts.wait(Duration::from_millis(500)).await?;
    }
}

/// A text of this length that begins so, and differs by its number.
fn text(begin: &str, number: usize, length: usize) -> String {
    let number = number.to_string();
    let rest = length.saturating_sub(begin.len() + number.len());
    format!("{begin}{}{number}", "x".repeat(rest))
}

fn texts(begin: &str, count: usize, length: usize) -> Vec<String> {
    (0..count).map(|number| text(begin, number, length)).collect()
}

fn tags(count: usize) -> Vec<Value> {
    let keys = texts("k", count, 512).into_iter();
    keys.map(|key| json!({"key": key, "value": "v".repeat(256)}))
        .collect()
}

/// The largest spec that admission allows (`crates/api/src/tests/sizes.rs`).
fn spec(number: usize) -> Value {
    let subscription = World::subscription(1000 + number);
    let scope = format!("/subscriptions/{subscription}/resourceGroups/rg/providers");
    let workspace = format!("{scope}/Microsoft.OperationalInsights/workspaces/w");
    let machine = format!("{scope}/Microsoft.Compute/virtualMachines/m");
    let values: Vec<_> = texts("p", 8, 64)
        .into_iter()
        .map(|name| (name, "v".repeat(256)))
        .collect();
    let properties: serde_json::Map<_, _> = values
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let extensions: Vec<_> = texts("E", 8, 64)
        .into_iter()
        .map(|name| json!({"name": name, "state": "Enabled", "properties": properties}))
        .collect();
    let workspaces: Vec<_> = texts(&workspace, 16, 512)
        .into_iter()
        .map(|id| json!({"resourceId": id}))
        .collect();
    let (ids, groups, selectors) = (texts(&machine, 512, 320), texts("g", 128, 90), tags(64));
    let share = |rule: usize| {
        json!({"name": format!("rule-{rule}"), "ids": ids.chunks(128).nth(rule),
            "resourceGroups": groups.chunks(32).nth(rule), "tags": selectors.get(rule * 15..(rule + 1) * 15)})
    };
    json!({
        "subscriptionId": subscription,
        "credentialRef": {"name": "none"},
        "suspend": true,
        "plan": {
            "tier": "P2",
            "agentlessScanning": {"state": "Enabled", "exclusionTags": tags(50)},
            "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": text(&workspace, 0, 512),
                "rules": {"custom": {"linuxFiles": texts("/", 200, 512)}}},
            "otherExtensions": extensions,
        },
        "workspaces": workspaces,
        "machines": {"exclude": (0..4).map(share).collect::<Vec<_>>()},
    })
}

impl report::Figures for Figures {
    const PART: &'static str = "largest objects";

    fn column(&self) -> String {
        self.objects.to_string()
    }

    fn breaches(&self) -> &[Value] {
        &self.breaches
    }

    fn rows(rows: &mut Rows<'_, Self>) {
        rows.section = "COUNTS";
        rows.breaches(|f| &f.breaches);
        rows.section = "TIME";
        rows.plain("restart to ready", |f| seconds(f.ready_seconds));
        rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
        rows.plain("text of all specs", |f| megabytes(f.spec_bytes));
        rows.plain("peak (VmHWM) while they were created", |f| megabytes(f.peak));
        rows.plain("peak (VmHWM) after a restart", |f| megabytes(f.restart_peak));
        rows.plain("  share of the container's limit", |f| {
            format!("{:.0} %", 100.0 * ratio(f.restart_peak, CONTAINER))
        });
        rows.plain("resident (VmRSS) after a restart", |f| megabytes(f.resident));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_near_the_most_that_the_controller_keeps() {
        let length = spec(0).to_string().len();
        assert!((360_000..430_000).contains(&length), "{length}");
    }
}
