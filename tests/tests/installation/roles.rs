//! The accounts of controllers, and their roles: the role of `deploy/base`, or all of it but one right.

use std::{collections::BTreeSet, path::PathBuf};

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule},
};
use kube::{Api, Client};
use serde_json::json;
use serverprotection_tests::{
    Error,
    control_plane::client_of,
    controller_process::{ControllerOptions, ControllerProcess},
    env::Environment,
    grants,
    objects::create,
    users::{CONTROLLER, CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE},
    wait::eventually,
};

use super::rights::{LIMIT, NEEDS, Need};

/// The controller's `ClusterRole`.
const ROLE: &str = "serverprotection-controller";

/// A service account in the controller's namespace.
pub(super) struct Account {
    pub(super) name: String,
    kubeconfig: PathBuf,
}

impl Account {
    /// The account of `deploy/base`.
    pub(super) fn of_the_controller(environment: &Environment) -> Result<Self, Error> {
        Ok(Self {
            name: CONTROLLER_ACCOUNT.into(),
            kubeconfig: environment.plane.kubeconfig(CONTROLLER)?,
        })
    }

    /// A new account with the rights of the controller except one.
    pub(super) async fn without(environment: &Environment, need: Need) -> Result<Self, Error> {
        let (verb, _, resource, _) = need;
        let name = format!("without-{verb}-{}", resource.replace('/', "-"));
        let client = &environment.client;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), CONTROLLER_NAMESPACE);
        create(&accounts, json!({"metadata": {"name": name}})).await?;
        let roles: Api<ClusterRole> = Api::all(client.clone());
        let reduced = reduced(&role(client).await?, need);
        create(&roles, json!({"metadata": {"name": name}, "rules": reduced})).await?;
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        let binding = json!({"metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": CONTROLLER_NAMESPACE}]});
        create(&bindings, binding).await?;
        grants::secrets_for(client, CONTROLLER_NAMESPACE, &name).await?;
        let plane = &environment.plane;
        let kubeconfig = plane
            .service_account_kubeconfig(CONTROLLER_NAMESPACE, &name)
            .await?;
        let client = client_of(&kubeconfig).await?;
        // The authorizer takes in the role and its binding a moment later, each as a whole.
        if let Some(other) = NEEDS.into_iter().find(|other| *other != need) {
            authorized(&client, other, true).await?;
        }
        authorized(&client, need, false).await?;
        Ok(Self { name, kubeconfig })
    }

    /// Starts a controller with this account, for a team in `namespace`.
    pub(super) fn controller(
        &self,
        environment: &Environment,
        namespace: &str,
        flags: &[&str],
    ) -> Result<ControllerProcess, Error> {
        let log = format!("{namespace}.log");
        environment.controller_of(&self.kubeconfig, &log, &ControllerOptions::flags(flags))
    }
}

/// The rights that the controller's role grants: one text for each verb and resource.
pub(super) async fn granted(environment: &Environment) -> Result<BTreeSet<String>, Error> {
    let role = role(&environment.client).await?;
    let mut rights = BTreeSet::new();
    for rule in role.rules.iter().flatten() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    Ok(rights)
}

async fn role(client: &Client) -> Result<ClusterRole, Error> {
    Ok(Api::<ClusterRole>::all(client.clone()).get(ROLE).await?)
}

/// The rules without one right.
fn reduced(role: &ClusterRole, (verb, group, resource, _): Need) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    for rule in role.rules.iter().flatten() {
        for own in rule.resources.iter().flatten() {
            let mut one = PolicyRule {
                resources: Some(vec![own.clone()]),
                ..rule.clone()
            };
            let groups = one.api_groups.iter().flatten();
            if own == resource && groups.into_iter().any(|own| own == group) {
                one.verbs.retain(|own| own != verb);
            }
            if !one.verbs.is_empty() {
                rules.push(one);
            }
        }
    }
    rules
}

/// Waits until the authorizer allows or denies a right in all namespaces.
async fn authorized(client: &Client, (verb, group, resource, _): Need, expected: bool) -> Result<(), Error> {
    let (main, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let what = format!("the right to {verb} {resource}: {expected}");
    eventually(&what, LIMIT, || async {
        match grants::may(client, (verb, group, main, subresource), "").await {
            Ok(allowed) if allowed == expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}
