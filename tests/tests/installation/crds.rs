//! A controller without CRDs says how to install them, and goes on when they are there.

use std::{sync::Arc, time::Duration};

use serverprotection_tests::{
    Error, binaries, cases,
    control_plane::ControlPlane,
    controller_process::{ControllerOptions, ControllerProcess},
    env::Environment,
    harness::Case,
    users::ADMIN,
    wait::eventually,
};

use super::TIMEOUT;

const COMMAND: &str = "serverprotection crds | kubectl apply --server-side -f -";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![missing_crds_are_named_and_found_when_they_are_installed]
}

async fn missing_crds_are_named_and_found_when_they_are_installed(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    // A control plane of its own, without the installation.
    let plane = ControlPlane::start().await?;
    let options = ControllerOptions::flags(&["--allow-unrestricted-tokens"]);
    let log = plane.folder().join("controller.log");
    let kubeconfig = plane.kubeconfig(ADMIN)?;
    let mut controller = ControllerProcess::start(&kubeconfig, &environment.emulator, &log, &options)?;
    controller.wait_for_log(COMMAND, TIMEOUT).await?;
    not_ready(&mut controller, "ServerProtection").await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let lines = controller.log().matches(COMMAND).count();
    assert!(lines <= 4, "{lines} lines for 4 kinds in some seconds");

    let crds = binaries::root().join("crds").display().to_string();
    plane.kubectl(&["apply", "--server-side", "-f", &crds]).await?;
    controller.wait_ready(TIMEOUT).await?;
    let name = "securityconnectors.serverprotection.dev";
    plane.kubectl(&["delete", "crd", name]).await?;
    not_ready(&mut controller, "SecurityConnector").await?;
    plane.kubectl(&["apply", "--server-side", "-f", &crds]).await?;
    controller.wait_ready(TIMEOUT).await?;
    controller.terminate().await?;
    plane.stop().await;
    Ok(())
}

/// Waits until `/readyz` names the missing kind.
async fn not_ready(controller: &mut ControllerProcess, kind: &str) -> Result<(), Error> {
    let mut last = String::new();
    for _ in 0..80 {
        last = match controller.get("readyz").await {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        if last.contains(COMMAND) && last.contains("503") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let named = last.contains(COMMAND) && (last.contains(kind) || kind == "ServerProtection");
    eventually("readyz", Duration::ZERO, || {
        std::future::ready(if named { Ok(()) } else { Err(last.clone()) })
    })
    .await
}
