//! The controller does not run while nothing restricts it.

use std::{sync::Arc, time::Duration};

use serverprotection_tests::{
    Error, binaries, cases,
    controller_process::{ControllerOptions, ControllerProcess},
    env::Environment,
    harness::Case,
    users::{ADMIN, CONTROLLER},
    wait::eventually,
};

use super::TIMEOUT;

/// The controller waits a minute for the policies.
const REFUSED: Duration = Duration::from_secs(90);
const FLAG: &str = "--allow-unrestricted-tokens";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_controller_whose_policy_is_not_bound_does_not_start,
        no_label_of_a_user_stops_the_controller,
        an_administrator_runs_the_controller_with_a_flag_only,
    ]
}

fn start(
    environment: &Environment,
    user: &str,
    log: &str,
    flags: &[&str],
) -> Result<ControllerProcess, Error> {
    let kubeconfig = environment.plane.kubeconfig(user)?;
    environment.controller_of(&kubeconfig, log, &ControllerOptions::flags(flags))
}

/// Waits until the process has ended, and returns its log.
async fn refused(controller: &mut ControllerProcess) -> Result<String, Error> {
    eventually("the end of the controller", REFUSED, || {
        let runs = controller.is_running();
        std::future::ready(if runs { Err("it runs") } else { Ok(()) })
    })
    .await?;
    Ok(controller.log())
}

async fn a_controller_whose_policy_is_not_bound_does_not_start(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    // A connector, so that the finalizer policy can be checked too.
    let team = environment.team("policies").await?;
    team.connect("aws", serde_json::json!({})).await?;
    for (binding, file) in [
        ("serverprotection-token", "deploy/base/token_policy.yaml"),
        ("serverprotection-finalizer", "deploy/base/finalizer_policy.yaml"),
    ] {
        let delete = ["delete", "validatingadmissionpolicybinding", binding];
        environment.plane.kubectl(&delete).await?;
        // The API server takes in the deletion a moment later; a controller that starts earlier is refused nothing.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut controller = start(&environment, CONTROLLER, &format!("{binding}.log"), &[])?;
        let log = refused(&mut controller).await?;
        assert!(log.contains(file) && log.contains(FLAG), "{log}");
        // The definitions are those of another case.
        let path = binaries::root().join(file).display().to_string();
        environment
            .plane
            .kubectl(&["apply", "--server-side", "-f", &path])
            .await?;
        let mut controller = start(&environment, CONTROLLER, &format!("{binding}-again.log"), &[])?;
        controller.wait_ready(TIMEOUT).await?;
        let enforced = controller
            .metric("serverprotection_admission_policy_enforced", &[])
            .await?;
        assert_eq!(enforced, Some(2.0), "both policies");
        controller.terminate().await?;
    }
    Ok(())
}

/// The check sets a label that its users can set too. First in the list of all, then the only connector of a namespace.
async fn no_label_of_a_user_stops_the_controller(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("aaa").await?;
    team.connect("aws", serde_json::json!({"suspend": true})).await?;
    let label = "serverprotection.dev/self-test=refused";
    let namespace = team.namespace.as_str();
    environment
        .plane
        .kubectl(&["label", "securityconnector", "aws", label, "-n", namespace])
        .await?;
    for (log, flags) in [
        ("labelled.log", &[][..]),
        ("labelled-alone.log", &["--watch-namespace", namespace]),
    ] {
        let mut controller = start(&environment, CONTROLLER, log, flags)?;
        controller.wait_ready(TIMEOUT).await?;
        let enforced = controller
            .metric("serverprotection_admission_policy_enforced", &[])
            .await?;
        assert_eq!(enforced, Some(2.0), "both policies: {log}");
        controller.terminate().await?;
    }
    Ok(())
}

async fn an_administrator_runs_the_controller_with_a_flag_only(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let mut controller = start(&environment, ADMIN, "admin.log", &[])?;
    let log = refused(&mut controller).await?;
    assert!(log.contains(FLAG), "{log}");
    let mut controller = start(&environment, ADMIN, "admin-allowed.log", &[FLAG])?;
    controller.wait_ready(TIMEOUT).await?;
    controller.terminate().await?;
    Ok(())
}
