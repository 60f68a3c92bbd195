//! Tokens of service accounts, as the admission policy restricts them.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serverprotection_tests::{Error, binaries, grants, users::CONTROLLER, wait::eventually};

use super::{Installed, RENAMED, may, only_the_finalizer_is_writable};

const EXCHANGE: &str = "api://AzureADTokenExchange";
const API_SERVER: &str = "https://kubernetes.default.svc";

/// A request for a token of a service account of the namespace `default`.
struct TokenOf<'a> {
    client: &'a Client,
    account: &'a str,
    audiences: &'a [&'a str],
    seconds: Option<i64>,
}

impl TokenOf<'_> {
    /// What the API server says if it refuses.
    async fn ask(&self) -> Result<(), String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "default");
        let spec = TokenRequestSpec {
            audiences: self
                .audiences
                .iter()
                .map(|&audience| audience.to_owned())
                .collect(),
            expiration_seconds: self.seconds,
            ..Default::default()
        };
        let request = TokenRequest {
            spec,
            ..Default::default()
        };
        let answer = accounts
            .create_token_request(self.account, &PostParams::default(), &request)
            .await;
        answer.map(drop).map_err(|error| error.to_string())
    }

    /// Waits for a refusal with this text: a policy and a right take effect a moment after their creation.
    async fn is_refused(&self, text: &str) -> Result<(), Error> {
        eventually("the policy's refusal", Duration::from_secs(30), || async {
            match self.ask().await {
                Err(refusal) if refusal.contains(text) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    async fn is_granted(&self) -> Result<(), Error> {
        eventually("the token", Duration::from_secs(10), || self.ask()).await
    }
}

pub(crate) async fn the_controller_gets_tokens_for_one_audience_only(
    installed: Arc<Installed>,
) -> Result<(), Error> {
    let plane = &installed.0;
    plane.kubectl(&["create", "serviceaccount", "a-workload"]).await?;
    grants::use_of(&plane.admin().await?, "default", "a-workload").await?;
    let client = plane.client(CONTROLLER).await?;
    let token = |audiences: &'static [&'static str], seconds| TokenOf {
        client: &client,
        account: "a-workload",
        audiences,
        seconds,
    };
    token(&[], None)
        .is_refused("api://AzureADTokenExchange only")
        .await?;
    assert!(token(&[API_SERVER], None).ask().await.is_err());
    assert!(token(&[EXCHANGE, API_SERVER], None).ask().await.is_err());
    token(&[EXCHANGE], None).is_granted().await?;
    // For an hour at most.
    token(&[EXCHANGE], Some(3601))
        .is_refused("an hour at most")
        .await?;
    token(&[EXCHANGE], Some(3600)).is_granted().await?;
    // Other users are not affected.
    plane
        .kubectl(&["create", "token", "a-workload", "--duration=24h"])
        .await?;
    Ok(())
}

/// The namespace agrees with a Role for the service account, and another service account is not included.
pub(crate) async fn the_controller_gets_tokens_only_of_service_accounts_that_agree(
    installed: Arc<Installed>,
) -> Result<(), Error> {
    let plane = &installed.0;
    for account in ["payroll", "azure"] {
        plane.kubectl(&["create", "serviceaccount", account]).await?;
    }
    let client = plane.client(CONTROLLER).await?;
    let of = |account| TokenOf {
        client: &client,
        account,
        audiences: &[EXCHANGE],
        seconds: None,
    };
    let names = "no Role lets the service account default/azure use azurecredentials";
    of("azure").is_refused(names).await?;
    grants::use_of(&plane.admin().await?, "default", "azure").await?;
    of("azure").is_granted().await?;
    assert!(of("payroll").ask().await.is_err());
    plane.kubectl(&["delete", "rolebinding", "azure"]).await?;
    of("azure").is_refused(names).await
}

/// Rights that include everything, or those of an administrator of the namespace, are no consent.
pub(crate) async fn the_controller_gets_no_tokens_of_service_accounts_with_all_rights(
    installed: Arc<Installed>,
) -> Result<(), Error> {
    let plane = &installed.0;
    for account in ["gitops", "wildcard", "deployer"] {
        plane.kubectl(&["create", "serviceaccount", account]).await?;
    }
    let role = "create role wildcard --verb=* --resource=azurecredentials.serverprotection.dev";
    plane.kubectl(&role.split(' ').collect::<Vec<_>>()).await?;
    for (account, binding, role) in [
        (
            "deployer",
            "rolebinding",
            "--clusterrole=serverprotection-credentials-edit",
        ),
        ("wildcard", "rolebinding", "--role=wildcard"),
        ("gitops", "clusterrolebinding", "--clusterrole=cluster-admin"),
    ] {
        let (name, subject) = (
            format!("rights-of-{account}"),
            format!("--serviceaccount=default:{account}"),
        );
        plane.kubectl(&["create", binding, &name, role, &subject]).await?;
    }
    let client = plane.client(CONTROLLER).await?;
    let of = |account| TokenOf {
        client: &client,
        account,
        audiences: &[EXCHANGE],
        seconds: None,
    };
    let all = "a role with all verbs, such as cluster-admin, is bound to the service account default/";
    for account in ["gitops", "wildcard"] {
        of(account).is_refused(all).await?;
        // The consent does not make it harmless.
        grants::use_of(&plane.admin().await?, "default", account).await?;
        of(account).is_refused(all).await?;
    }
    let deployer = "--as=system:serviceaccount:default:deployer";
    let edits = [
        "auth",
        "can-i",
        "create",
        "azurecredentials.serverprotection.dev",
        deployer,
    ];
    eventually("the rights of the deployer", Duration::from_secs(10), || {
        plane.kubectl(&edits)
    })
    .await?;
    of("deployer")
        .is_refused("no Role lets the service account")
        .await?;
    plane
        .kubectl(&["delete", "rolebinding", "rights-of-wildcard"])
        .await?;
    of("wildcard").is_granted().await
}

/// Another namespace and a name prefix: nothing of the policies names the service account.
pub(crate) async fn the_policies_follow_the_service_account_to_another_name(
    installed: Arc<Installed>,
) -> Result<(), Error> {
    let plane = &installed.0;
    let overlay = binaries::root()
        .join("tests/deploy/renamed")
        .display()
        .to_string();
    plane.kubectl(&["apply", "--server-side", "-k", &overlay]).await?;
    plane.kubectl(&["create", "serviceaccount", "moved"]).await?;
    let client = plane.client(RENAMED).await?;
    let token = |audiences: &'static [&'static str]| TokenOf {
        client: &client,
        account: "moved",
        audiences,
        seconds: None,
    };
    token(&[API_SERVER])
        .is_refused("api://AzureADTokenExchange only")
        .await?;
    token(&[EXCHANGE])
        .is_refused("no Role lets the service account")
        .await?;
    grants::use_of(&plane.admin().await?, "default", "moved").await?;
    token(&[EXCHANGE]).is_granted().await?;
    plane.kubectl(&["create", "namespace", "moved"]).await?;
    only_the_finalizer_is_writable(plane, RENAMED, "moved").await?;
    // The component lets it read Secrets everywhere.
    eventually("the right to read Secrets", Duration::from_secs(10), || async {
        let may = may(&client, ("get", "", "secrets", "")).await?;
        may.then_some(())
            .ok_or_else(|| Error::Other("not granted".into()))
    })
    .await
}
