//! The test environment itself: a control plane that starts, verifies, rejects and stops like a real one.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Namespace, ServiceAccount},
};
use kube::{
    Api,
    api::{ListParams, ObjectMeta, PostParams},
};
use serverprotection_tests::{
    Error, cases,
    control_plane::ControlPlane,
    harness::{self, Setting},
    users,
    wait::eventually,
};
use std::{process::ExitCode, sync::Arc, time::Duration};

struct Plane(ControlPlane);

impl Setting for Plane {
    async fn stop(&self, _failed: bool) -> Result<(), Error> {
        self.0.stop().await;
        Ok(())
    }
}

fn main() -> ExitCode {
    harness::run(
        async || Ok(Plane(ControlPlane::start().await?)),
        cases![
            the_server_is_ready_and_has_the_pinned_version,
            a_plain_user_is_forbidden_and_a_wrong_token_unauthorized,
            a_token_request_verifies_with_the_exposed_key,
            a_frozen_server_answers_again_after_it_resumes,
            a_killed_server_comes_back_with_its_state_and_stops_without_a_trace,
        ],
    )
}

async fn the_server_is_ready_and_has_the_pinned_version(plane: Arc<Plane>) -> Result<(), Error> {
    let version = plane.0.admin().await?.apiserver_version().await?;
    assert!(
        version.minor.trim_end_matches('+').parse::<u32>().unwrap() >= 33,
        "{version:?}"
    );
    assert_eq!(plane.0.kubectl(&["get", "--raw", "/readyz"]).await?, "ok");
    assert!(plane.0.ready_after() < Duration::from_secs(60));
    Ok(())
}

async fn a_plain_user_is_forbidden_and_a_wrong_token_unauthorized(plane: Arc<Plane>) -> Result<(), Error> {
    let maps: Api<ConfigMap> = Api::namespaced(plane.0.client(users::PLAIN).await?, "default");
    let error = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(s) if s.code == 403), "{error}");
    let error = plane
        .0
        .kubectl(&["--token=wrong", "get", "configmaps"])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Unauthorized") || error.contains("logged in"),
        "{error}"
    );
    Ok(())
}

async fn a_token_request_verifies_with_the_exposed_key(plane: Arc<Plane>) -> Result<(), Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.0.admin().await?, "default");
    let meta = ObjectMeta {
        name: Some("a-workload".into()),
        ..Default::default()
    };
    accounts
        .create(
            &PostParams::default(),
            &ServiceAccount {
                metadata: meta,
                ..Default::default()
            },
        )
        .await?;
    let spec = TokenRequestSpec {
        audiences: vec!["api://AzureADTokenExchange".into()],
        ..Default::default()
    };
    let request = TokenRequest {
        spec,
        ..Default::default()
    };
    let answer = accounts
        .create_token_request("a-workload", &PostParams::default(), &request)
        .await?;

    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[plane.0.service_account_issuer()]);
    rules.set_audience(&["api://AzureADTokenExchange"]);
    let key = DecodingKey::from_ec_pem(plane.0.service_account_public_key().as_bytes()).unwrap();
    let token = answer.status.unwrap().token;
    let claims = decode::<serde_json::Value>(&token, &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], "system:serviceaccount:default:a-workload");

    let other = rcgen_key();
    assert!(
        decode::<serde_json::Value>(&token, &other, &rules).is_err(),
        "another key must not verify it"
    );
    Ok(())
}

fn rcgen_key() -> DecodingKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes()).unwrap()
}

/// On its own control plane, because the other cases need theirs to run.
async fn a_frozen_server_answers_again_after_it_resumes(_shared: Arc<Plane>) -> Result<(), Error> {
    let plane = ControlPlane::start().await?;
    let namespaces: Api<Namespace> = Api::all(plane.admin().await?);
    plane.pause().await?;
    let answer = tokio::time::timeout(Duration::from_secs(1), namespaces.get("default")).await;
    assert!(answer.is_err(), "a frozen server answered: {answer:?}");
    plane.resume().await?;
    eventually("an answer", Duration::from_secs(10), || namespaces.get("default")).await?;
    plane.pause().await?;
    plane.stop().await; // also when frozen
    Ok(())
}

/// On its own control plane.
async fn a_killed_server_comes_back_with_its_state_and_stops_without_a_trace(
    _shared: Arc<Plane>,
) -> Result<(), Error> {
    let plane = ControlPlane::start().await?;
    plane.kubectl(&["create", "namespace", "survivor"]).await?;
    plane.kill_api_server().await;
    assert!(plane.kubectl(&["get", "namespace", "survivor"]).await.is_err());
    plane.start_api_server().await?;
    plane.kubectl(&["get", "namespace", "survivor"]).await?;

    let ids = plane.process_ids().await;
    let folder = plane.folder().to_owned();
    plane.stop().await;
    plane.stop().await;
    for id in ids {
        assert!(
            !std::path::Path::new(&format!("/proc/{id}")).exists(),
            "process {id} is still there"
        );
    }
    drop(plane);
    assert!(!folder.exists(), "{} is still there", folder.display());
    Ok(())
}
