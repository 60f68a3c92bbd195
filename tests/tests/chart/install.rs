//! Releases on a real API server, and controllers with the tokens of their service accounts.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    command::serverprotection,
    control_plane::client_of,
    controller_process::{ControllerOptions, ControllerProcess, Replica},
    env::Environment,
    harness::Case,
    helm::{Helm, Release, chart},
    team::Team,
    users::ADMIN,
    wait::eventually,
};

use super::{
    objects::{only, parse},
    release,
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// A user with all rights in one namespace, and none outside.
const OWNER: &str = "owner-of-a-namespace";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_release_under_another_name_works,
        the_owner_of_a_namespace_cannot_exempt_the_controller,
        a_namespace_scoped_release_works,
        a_second_release_takes_nothing_from_the_first,
        an_uninstalled_release_leaves_definitions_and_objects,
    ]
}

/// Starts a controller as its pod would run: with the arguments of the Deployment and a token of its service account.
async fn start(environment: &Environment, release: &Release) -> Result<ControllerProcess, Error> {
    let plane = &environment.plane;
    let (name, namespace) = (release.controller(), release.namespace.as_str());
    let deployment = plane
        .kubectl(&["get", "deployment", &name, "-n", namespace, "-o", "json"])
        .await?;
    let deployment: Value = serde_json::from_str(&deployment)?;
    let pod = &deployment["spec"]["template"]["spec"];
    let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone())?;
    assert_eq!(arguments[0], "controller");
    let account = pod["serviceAccountName"].as_str().unwrap();
    let kubeconfig = plane.service_account_kubeconfig(namespace, account).await?;
    let options = ControllerOptions {
        flags: arguments[1..].to_vec(),
        // The role of the release is for the Lease in its namespace.
        replica: Some(Replica {
            lease_namespace: namespace.into(),
            ..Replica::standard()
        }),
        ..ControllerOptions::default()
    };
    let log = format!("{}.log", release.name);
    let mut controller = environment.controller_of(&kubeconfig, &log, &options)?;
    controller.wait_ready(TIMEOUT).await?;
    Ok(controller)
}

/// Both admission policies restrict it. There must be a connector to check the second one with.
async fn is_restricted(controller: &mut ControllerProcess) -> Result<(), Error> {
    let enforced = controller
        .metric("serverprotection_admission_policy_enforced", &[])
        .await?;
    assert_eq!(enforced, Some(2.0), "both policies");
    Ok(())
}

/// What the API server says to a token request of the controller that it must refuse.
async fn refusal(environment: &Environment, release: &Release, namespace: &str) -> Result<String, Error> {
    let plane = &environment.plane;
    let kubeconfig = plane
        .service_account_kubeconfig(&release.namespace, &release.controller())
        .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client_of(&kubeconfig).await?, namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec!["https://kubernetes.default.svc".into()],
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let account = ["create", "serviceaccount", "a-workload", "-n", namespace];
    plane.kubectl(&account).await?;
    let answer = accounts
        .create_token_request("a-workload", &PostParams::default(), &request)
        .await;
    Ok(answer.map(drop).unwrap_err().to_string())
}

/// With a client secret. The policies apply to its service account, and `helm test` would succeed.
async fn a_release_under_another_name_works(environment: Arc<Environment>) -> Result<(), Error> {
    let release = release();
    let helm = environment.plane.helm(ADMIN)?;
    let team = environment.team("renamed").await?;
    team.connect("aws", json!({})).await?;
    let secrets = format!("secretAccess.namespaces={{{}}}", team.namespace);
    helm.with_chart("upgrade", &release, &["--set", &secrets]).await?;
    let mut controller = start(&environment, &release).await?;
    is_restricted(&mut controller).await?;
    is_ready(&team).await?;
    let refused = refusal(&environment, &release, &team.namespace).await?;
    assert!(refused.contains("defender-serverprotection-token"), "{refused}");
    the_test_pod_asks_the_controller(&helm, &release, &mut controller).await?;
    controller.terminate().await?;
    Ok(())
}

async fn is_ready(team: &Team<'_>) -> Result<(), Error> {
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    Ok(())
}

/// No pods run here, but the command of the test's pod does.
async fn the_test_pod_asks_the_controller(
    helm: &Helm,
    release: &Release,
    controller: &mut ControllerProcess,
) -> Result<(), Error> {
    let hooks = ["get", "hooks", &release.name, "-n", &release.namespace];
    let hooks = parse(&helm.run(&hooks).await?)?;
    let pod = only(&hooks, "Pod");
    let arguments: Vec<String> = serde_json::from_value(pod["spec"]["containers"][0]["args"].clone())?;
    let service = format!("http://{}.{}.svc:8080", release.controller(), release.namespace);
    let address = controller.address().unwrap();
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace(&service, &address))
        .collect();
    assert_eq!(arguments, ["probe".to_owned(), format!("{address}/readyz")]);
    let ran = serverprotection(&arguments, &[], None).await?;
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1), "{ran:?}");
    let wrong = format!("{address}/nothing");
    let ran = serverprotection(&["probe", "--timeout", "1s", &wrong], &[], None).await?;
    assert_eq!((ran.code, ran.err.lines().count()), (Some(1), 1), "{ran:?}");
    Ok(())
}

/// A namespace could otherwise let the controller do more there, and close its paths everywhere.
async fn the_owner_of_a_namespace_cannot_exempt_the_controller(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (plane, release) = (&environment.plane, release());
    plane.kubectl(&["create", "namespace", "exempting"]).await?;
    let account = format!("{}:{}", release.namespace, release.controller());
    let in_namespace = ["--namespace", "exempting"];
    let subject = format!("--serviceaccount={account}");
    let bind = [
        "create",
        "rolebinding",
        "exempt",
        "--clusterrole=cluster-admin",
        &subject,
    ];
    plane.kubectl(&[&bind[..], &in_namespace[..]].concat()).await?;
    let account = format!("--as=system:serviceaccount:{account}");
    let exempted = [
        "auth",
        "can-i",
        "obey",
        "exemptions.policies.serverprotection.dev",
        &account,
    ];
    let exempted = [&exempted[..], &in_namespace[..]].concat();
    eventually("the exemption", Duration::from_secs(10), || {
        plane.kubectl(&exempted)
    })
    .await?;
    let refused = refusal(&environment, &release, "exempting").await?;
    assert!(refused.contains("defender-serverprotection-token"), "{refused}");
    Ok(())
}

/// Its owner installs it, without rights outside the namespace. A service account of the namespace proves the identity.
async fn a_namespace_scoped_release_works(environment: Arc<Environment>) -> Result<(), Error> {
    let plane = &environment.plane;
    let team = environment.team("scoped").await?;
    team.connect("aws", json!({})).await?;
    let namespace = team.namespace.as_str();
    let all = ["--clusterrole=cluster-admin", "--user", OWNER, "-n", namespace];
    plane
        .kubectl(&[&["create", "rolebinding", "owner"], &all[..]].concat())
        .await?;
    let release = Release::new("team", namespace);
    let example = chart()
        .join("examples/namespace-scoped.yaml")
        .display()
        .to_string();
    let watch = format!("watchNamespace={namespace}");
    let secrets = format!("secretAccess.namespaces={{{namespace}}}");
    let flags = ["--values", &example, "--set", &watch, "--set", &secrets];
    let owner = ["--kube-as-user", OWNER, "--kube-as-group", "system:authenticated"];
    let helm = plane.helm(ADMIN)?;
    eventually("the owner's installation", TIMEOUT, || {
        let flags = [&flags[..], &owner[..]].concat();
        let (helm, release) = (helm.clone(), release.clone());
        async move {
            helm.with_chart("upgrade", &release, &[&flags[..], &["--install"]].concat())
                .await
        }
    })
    .await?;
    let mut controller = start(&environment, &release).await?;
    is_restricted(&mut controller).await?;
    is_ready(&team).await?;
    let refused = refusal(&environment, &release, namespace).await?;
    assert!(refused.contains("defender-serverprotection-token"), "{refused}");
    // Its rights end at the namespace.
    let account = format!("--as=system:serviceaccount:{namespace}:{}", release.controller());
    for right in [
        "list serverprotections.serverprotection.dev",
        "create serviceaccounts --subresource=token",
        "get secrets",
    ] {
        let words: Vec<&str> = right.split(' ').collect();
        let in_namespace = [&["auth", "can-i"], &words[..], &["-n", namespace, &account]].concat();
        assert_eq!(plane.kubectl(&in_namespace).await?.trim(), "yes", "{right}");
        let elsewhere = [&["auth", "can-i"], &words[..], &["-n", "default", &account]].concat();
        assert!(plane.kubectl(&elsewhere).await.is_err(), "{right}");
    }
    // The service account of the values proves an identity.
    let token = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec!["api://AzureADTokenExchange".into()],
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let kubeconfig = plane
        .service_account_kubeconfig(namespace, &release.controller())
        .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client_of(&kubeconfig).await?, namespace);
    let params = PostParams::default();
    accounts
        .create_token_request("serverprotection-azure", &params, &token)
        .await?;
    controller.terminate().await?;
    let uninstall = ["uninstall", &release.name, "-n", namespace];
    helm.run(&[&uninstall[..], &owner[..]].concat()).await?;
    Ok(())
}

/// Helm refuses it because of the definitions. Without them, both work, with policies and roles of their own.
async fn a_second_release_takes_nothing_from_the_first(environment: Arc<Environment>) -> Result<(), Error> {
    let helm = environment.plane.helm(ADMIN)?;
    let second = Release::new("second", "second");
    let create = ["--create-namespace"];
    let refused = helm.with_chart("install", &second, &create).await;
    let message = refused.map(drop).unwrap_err().to_string();
    assert!(message.contains("serverprotection.dev"), "{message}");
    let flags = ["--create-namespace", "--set", "crds.install=false"];
    helm.with_chart("upgrade", &second, &[&flags[..], &["--install"]].concat())
        .await?;
    helm.run(&["uninstall", "second", "-n", "second"]).await?;
    let first = release();
    let role = ["get", "clusterrole", &first.controller()];
    environment.plane.kubectl(&role).await?;
    Ok(())
}

/// It can be rolled back before, and installed again after it.
async fn an_uninstalled_release_leaves_definitions_and_objects(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let plane = &environment.plane;
    let release = release();
    let helm = plane.helm(ADMIN)?;
    let team = environment.team("kept").await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    let in_namespace = ["-n", release.namespace.as_str()];
    helm.with_chart("upgrade", &release, &["--set", "controller.logFormat=json"])
        .await?;
    helm.run(&[&["rollback", &release.name], &in_namespace[..]].concat())
        .await?;
    let name = release.controller();
    let deployment = [
        "get",
        "deployment",
        &name,
        "-o",
        "jsonpath={.spec.template.spec.containers[0].args}",
    ];
    let arguments = plane
        .kubectl(&[&deployment[..], &in_namespace[..]].concat())
        .await?;
    assert_eq!(
        arguments,
        r#"["controller","--lease-name=defender-serverprotection-controller"]"#
    );
    // How an older version is installed again: its definitions would drop fields.
    helm.with_chart("upgrade", &release, &["--set", "crds.install=false"])
        .await?;
    team.get("prod").await?;
    helm.with_chart("upgrade", &release, &[]).await?;
    helm.run(&[&["uninstall", &release.name], &in_namespace[..]].concat())
        .await?;
    for gone in [
        "clusterrole",
        "clusterrolebinding",
        "deployment",
        "serviceaccount",
        "networkpolicy",
    ] {
        let get = [&["get", gone, &name, "--ignore-not-found"], &in_namespace[..]].concat();
        assert_eq!(plane.kubectl(&get).await?, "", "{gone}");
    }
    team.get("prod").await?;
    helm.with_chart("install", &release, &[]).await?;
    plane
        .kubectl(&[&["get", "deployment", &name], &in_namespace[..]].concat())
        .await?;
    Ok(())
}
