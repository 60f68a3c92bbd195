//! `HTTPS_PROXY` and `NO_PROXY`, with a real forward proxy that wants a password: for Azure, and for the API server of
//! a kubeconfig.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use serverprotection_tests::{
    Error, binaries, cases,
    controller_process::{ControllerOptions, ControllerProcess},
    env::Environment,
    harness::Case,
    process::Process,
    users::CONTROLLER,
    wait::eventually,
};
use tokio::process::Command;

use super::TIMEOUT;

/// `user:pa@ss` in base64, and in a URL.
const BASIC: &str = "dXNlcjpwYUBzcw==";
const USER: &str = "user:pa%40ss";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        azure_is_reached_through_the_proxy_and_the_api_server_directly,
        the_api_server_is_reached_through_the_proxy_too,
        a_wrong_password_of_the_proxy_is_reported,
    ]
}

struct Proxy {
    process: Process,
    address: String,
}

impl Proxy {
    async fn start(environment: &Environment, log: &str) -> Result<Self, Error> {
        let mut command = Command::new(binaries::ours("forward_proxy")?);
        command.arg(BASIC);
        let log = environment.plane.folder().join(log);
        let process = Process::spawn("forward_proxy", command, &log, false)?;
        let address = eventually("the address of the proxy", TIMEOUT, || {
            let text = process.log_text();
            let address = text.lines().find_map(|line| line.strip_prefix("listening on "));
            std::future::ready(address.map(str::to_owned).ok_or("not yet"))
        })
        .await?;
        Ok(Self { process, address })
    }

    fn url(&self, user: &str) -> String {
        format!("http://{user}@{}", self.address)
    }

    /// Whether the proxy has opened a connection to this server.
    fn opened(&self, server: &str) -> bool {
        let address = server.trim_start_matches("https://").trim_end_matches('/');
        self.process
            .log_text()
            .lines()
            .any(|line| line == format!("opened {address}"))
    }

    async fn stop(mut self) {
        self.process.stop(Duration::from_secs(5)).await;
    }
}

/// Starts a controller with these variables.
fn start(
    environment: &Environment,
    kubeconfig: &Path,
    log: &str,
    namespace: &str,
    variables: &[(&str, &str)],
) -> Result<ControllerProcess, Error> {
    let mut options =
        ControllerOptions::flags(&["--watch-namespace", namespace, "--blocked-retry-interval", "3s"]);
    options.environment = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    environment.controller_of(kubeconfig, log, &options)
}

/// The lower-case variables of this machine win in some programs.
const UNSET: [(&str, &str); 2] = [("https_proxy", ""), ("no_proxy", "")];

async fn azure_is_reached_through_the_proxy_and_the_api_server_directly(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let proxy = Proxy::start(&environment, "proxy-azure.log").await?;
    let team = environment.team("proxied").await?;
    let kubeconfig = environment.plane.kubeconfig(CONTROLLER)?;
    let url = proxy.url(USER);
    // An address of this machine is never proxied for the API server; for Azure, NO_PROXY decides.
    let variables = [
        &[("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "example.com")][..],
        &UNSET,
    ]
    .concat();
    let mut controller = start(
        &environment,
        &kubeconfig,
        "proxied.log",
        &team.namespace,
        &variables,
    )?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    assert!(proxy.opened(environment.emulator.endpoint()));
    assert!(!proxy.opened(environment.plane.server()));
    assert!(!controller.log().contains("pa%40ss") && !controller.log().contains("pa@ss"));
    controller.terminate().await?;
    proxy.stop().await;
    Ok(())
}

/// `proxy-url` of the kubeconfig is used for any address. An address of this machine is what the test can offer.
async fn the_api_server_is_reached_through_the_proxy_too(environment: Arc<Environment>) -> Result<(), Error> {
    let proxy = Proxy::start(&environment, "proxy-api.log").await?;
    let team = environment.team("behind").await?;
    let kubeconfig = proxied(&environment, &proxy.url(USER))?;
    let variables = [&[("NO_PROXY", "127.0.0.1"), ("HTTPS_PROXY", "")][..], &UNSET].concat();
    let mut controller = start(
        &environment,
        &kubeconfig,
        "behind.log",
        &team.namespace,
        &variables,
    )?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    assert!(proxy.opened(environment.plane.server()));
    assert!(!proxy.opened(environment.emulator.endpoint()));
    controller.terminate().await?;
    proxy.stop().await;
    Ok(())
}

/// A copy of the controller's kubeconfig with a proxy.
fn proxied(environment: &Environment, url: &str) -> Result<PathBuf, Error> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Io { what, source }
    };
    let text = std::fs::read_to_string(environment.plane.kubeconfig(CONTROLLER)?).map_err(io("read"))?;
    let mut config: serde_json::Value = serde_json::from_str(&text)?;
    config["clusters"][0]["cluster"]["proxy-url"] = url.into();
    let path = environment.plane.folder().join("proxied.kubeconfig");
    std::fs::write(&path, config.to_string()).map_err(io("write"))?;
    Ok(path)
}

async fn a_wrong_password_of_the_proxy_is_reported(environment: Arc<Environment>) -> Result<(), Error> {
    let proxy = Proxy::start(&environment, "proxy-refuses.log").await?;
    let team = environment.team("refused").await?;
    let kubeconfig = environment.plane.kubeconfig(CONTROLLER)?;
    let url = proxy.url("user:wrong");
    let variables = [
        &[("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "example.com")][..],
        &UNSET,
    ]
    .concat();
    let mut controller = start(
        &environment,
        &kubeconfig,
        "refused.log",
        &team.namespace,
        &variables,
    )?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    // The third failed read in a row changes the condition.
    team.until_holds("prod", "the report", TIMEOUT, |object| {
        object.to_string().contains("EntraUnreachable")
    })
    .await?;
    let object = team.get("prod").await?.to_string();
    assert!(!object.contains("wrong"), "the password is in {object}");
    assert!(
        !controller.log().contains("user:wrong"),
        "the password is in the log"
    );
    assert!(
        environment
            .emulator
            .requests(&team.subscription)
            .await?
            .is_empty()
    );
    controller.terminate().await?;
    proxy.stop().await;
    Ok(())
}
