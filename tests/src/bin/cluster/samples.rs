//! The first installation: the samples become READY, and the pod is as restricted as its manifest says.

use crate::{TIMEOUT, node::Node, pods, setting::Cluster};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, cases,
    harness::Case,
    objects::Objects,
    recorder::{connector_resource, resource},
    wait::eventually,
};
use std::{sync::Arc, time::Instant};

/// Namespace of the samples.
const SAMPLES: &str = "defender";

pub(crate) fn cases() -> Vec<Case<Cluster>> {
    cases![
        the_samples_become_ready_with_one_replica,
        the_pod_is_restricted_and_has_only_the_token_of_its_service_account,
        a_healthy_run_logs_no_warning,
    ]
}

async fn the_samples_become_ready_with_one_replica(cluster: Arc<Cluster>) -> Result<(), Error> {
    let began = Instant::now();
    cluster.release.install(1, json!({})).await?;
    let installed = began.elapsed();
    cluster.record().await?;
    let applied = Instant::now();
    let samples = binaries::root().join("deploy/samples").display().to_string();
    cluster.kubectl.run(&["apply", "-k", &samples]).await?;
    let protections = Objects::new(cluster.client.clone(), SAMPLES, resource());
    protections
        .until("contoso-prod", "Ready", "True", TIMEOUT)
        .await?;
    let connectors = Objects::new(cluster.client.clone(), SAMPLES, connector_resource());
    connectors.until("aws-prod", "Ready", "True", TIMEOUT).await?;
    let pods = cluster.pods().await?;
    let ready_after = pods.first().and_then(pods::ready_after).unwrap_or_default();
    crate::report(&format!(
        "helm install until the pod is ready: {:.1} s, of which {ready_after} s after the start of its container; \
         samples applied until READY True: {:.1} s",
        installed.as_secs_f64(),
        applied.elapsed().as_secs_f64()
    ));
    let azure = cluster
        .emulator
        .get(serverprotection_tests::emulator::SUBSCRIPTION)
        .await?;
    let plan = azure.pointer("/pricings/VirtualMachines/subPlan");
    if plan != Some(&json!("P2")) {
        return Err(Error::Other(format!("Azure has the plan {plan:?}")));
    }
    Ok(())
}

async fn the_pod_is_restricted_and_has_only_the_token_of_its_service_account(
    cluster: Arc<Cluster>,
) -> Result<(), Error> {
    let pods = cluster.pods().await?;
    let controllers = Node::controllers()?;
    if pods.is_empty() || pods.len() != controllers.len() {
        let (pods, controllers) = (pods.len(), controllers.len());
        return Err(Error::Other(format!("{pods} pods and {controllers} processes")));
    }
    for process in &controllers {
        let memory = process.memory().unwrap_or_default();
        crate::report(&format!(
            "memory of a pod with the samples: {} MB",
            memory.div_ceil(1024)
        ));
        let problems = pods::unrestricted(process);
        if !problems.is_empty() {
            let id = process.id;
            return Err(Error::Other(format!("process {id}: {}", problems.join("; "))));
        }
    }
    for pod in &pods {
        let volumes = pods::volumes_except_the_token(pod);
        let variables = pods::secret_variables(pod);
        if volumes != ["extra-ca"] || !variables.is_empty() {
            return Err(Error::Other(format!(
                "volumes {volumes:?}, variables from Secrets {variables:?}"
            )));
        }
    }
    Ok(())
}

async fn a_healthy_run_logs_no_warning(cluster: Arc<Cluster>) -> Result<(), Error> {
    // The first scan of the machines comes after READY.
    let protections = Objects::new(cluster.client.clone(), SAMPLES, resource());
    eventually("the first scan", TIMEOUT, || async {
        let object = protections
            .get("contoso-prod")
            .await
            .map_err(|error| error.to_string())?;
        let scanned = object
            .pointer("/status/machines/lastScanTime")
            .is_some_and(|time| !time.is_null());
        scanned
            .then_some(())
            .ok_or_else(|| object.get("status").map(Value::to_string).unwrap_or_default())
    })
    .await?;
    let mut all = Vec::new();
    for pod in cluster.pods().await? {
        all.extend(cluster.warnings(&pod).await?);
    }
    if all.is_empty() {
        return Ok(());
    }
    Err(Error::Other(format!("the log has warnings:\n{}", all.join("\n"))))
}
