//! `deploy/base` and `deploy/samples` as published, on a real API server: they can be applied, and they grant exactly
//! the documented permissions.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod tokens;

use k8s_openapi::api::{core::v1::Secret, rbac::v1::Role};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, cases,
    control_plane::{ControlPlane, Options},
    grants,
    harness::{self, Setting},
    recorder::connector_resource,
    users::{CONTROLLER, User},
    wait::eventually,
};
use std::{process::ExitCode, sync::Arc, time::Duration};

use tokens::{
    the_controller_gets_no_tokens_of_service_accounts_with_all_rights,
    the_controller_gets_tokens_for_one_audience_only,
    the_controller_gets_tokens_only_of_service_accounts_that_agree,
    the_policies_follow_the_service_account_to_another_name,
};

/// The controller's service account as `tests/deploy/renamed` installs it.
const RENAMED: &str = "renamed";

struct Installed(ControlPlane);

impl Setting for Installed {
    async fn stop(&self, _failed: bool) -> Result<(), Error> {
        self.0.stop().await;
        Ok(())
    }
}

fn main() -> ExitCode {
    harness::run(
        async || {
            let users = vec![
                User::new("a-developer", &[]),
                User::new("an-admin", &[]),
                User::service_account(RENAMED, "defender-ops", "prod-serverprotection-controller"),
            ];
            let plane = ControlPlane::start_with(Options { users }).await?;
            plane.install().await?;
            Ok(Installed(plane))
        },
        cases![
            the_samples_apply_with_plain_kubectl,
            a_second_install_changes_nothing,
            the_controller_may_do_exactly_this,
            the_controller_reads_secrets_only_where_a_namespace_lets_it,
            the_controller_gets_tokens_for_one_audience_only,
            the_controller_gets_tokens_only_of_service_accounts_that_agree,
            the_controller_gets_no_tokens_of_service_accounts_with_all_rights,
            the_controller_writes_nothing_but_its_finalizer,
            the_policies_follow_the_service_account_to_another_name,
            a_namespace_editor_may_edit_all_kinds_but_credentials,
            the_pod_is_admitted_to_the_restricted_namespace,
        ],
    )
}

fn folder(name: &str) -> String {
    binaries::root().join("deploy").join(name).display().to_string()
}

async fn the_samples_apply_with_plain_kubectl(installed: Arc<Installed>) -> Result<(), Error> {
    let plane = &installed.0;
    // First as files, because only then their order matters.
    plane.kubectl(&["apply", "-f", &folder("samples")]).await?;
    let again = plane.kubectl(&["apply", "-k", &folder("samples")]).await?;
    // kubectl always reports a Secret with stringData as "configured".
    assert!(
        again.lines().count() == 6 && !again.contains("created"),
        "{again}"
    );
    let table = plane
        .kubectl(&["get", "serverprotection", "-n", "defender"])
        .await?;
    assert!(
        table.contains("contoso-prod") && table.contains("READY"),
        "{table}"
    );
    let observed = [
        "get",
        "sprot",
        "contoso-prod",
        "-n",
        "defender",
        "-o",
        "jsonpath={.status.observedGeneration}",
    ];
    assert_eq!(
        plane.kubectl(&observed).await?,
        "-1",
        "a new object must not count as Current"
    );
    Ok(())
}

async fn a_second_install_changes_nothing(installed: Arc<Installed>) -> Result<(), Error> {
    // Another field manager has no conflict, as when Flux or Argo CD takes an installation over.
    let base = folder("base");
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=another-tool",
        "-k",
        &base,
    ];
    installed.0.kubectl(&apply).await?;
    let version = [
        "get",
        "clusterrole",
        "serverprotection-controller",
        "-o",
        "jsonpath={.metadata.resourceVersion}",
    ];
    let before = installed.0.kubectl(&version).await?;
    installed.0.install().await?;
    assert_eq!(installed.0.kubectl(&version).await?, before);
    Ok(())
}

/// Verb, group, resource, subresource.
type Right = grants::Right<'static>;

const GROUP: &str = "serverprotection.dev";

async fn may(client: &Client, right: Right) -> Result<bool, Error> {
    grants::may(client, right, "default").await
}

async fn the_controller_may_do_exactly_this(installed: Arc<Installed>) -> Result<(), Error> {
    let client = installed.0.client(CONTROLLER).await?;
    let granted: [Right; 23] = [
        ("get", GROUP, "serverprotections", ""),
        ("list", GROUP, "serverprotections", ""),
        ("watch", GROUP, "serverprotections", ""),
        ("update", GROUP, "serverprotections", "status"),
        ("get", GROUP, "securityconnectors", ""),
        ("list", GROUP, "securityconnectors", ""),
        ("watch", GROUP, "securityconnectors", ""),
        ("patch", GROUP, "securityconnectors", ""),
        ("update", GROUP, "securityconnectors", "status"),
        ("list", GROUP, "azurecredentials", ""),
        ("watch", GROUP, "azurecredentials", ""),
        ("get", GROUP, "azurecredentials", ""),
        ("update", GROUP, "azurecredentials", "status"),
        ("list", GROUP, "clusterazurecredentials", ""),
        ("watch", GROUP, "clusterazurecredentials", ""),
        ("get", GROUP, "clusterazurecredentials", ""),
        ("update", GROUP, "clusterazurecredentials", "status"),
        ("list", "", "namespaces", ""),
        ("watch", "", "namespaces", ""),
        ("create", "", "serviceaccounts", "token"),
        ("obey", "policies.serverprotection.dev", "controllers", ""),
        ("create", "events.k8s.io", "events", ""),
        ("patch", "events.k8s.io", "events", ""),
    ];
    // The authorizer caches: a new binding takes effect a moment later.
    eventually("the controller's rights", Duration::from_secs(10), || async {
        for right in granted {
            if !may(&client, right).await? {
                return Err(Error::Other(format!("{right:?} is not granted")));
            }
        }
        Ok(())
    })
    .await?;
    for resource in ["serverprotections", "azurecredentials", "clusterazurecredentials"] {
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            assert!(
                !may(&client, (verb, GROUP, resource, "")).await?,
                "{verb} {resource} is granted"
            );
        }
    }
    for verb in ["create", "update", "delete", "deletecollection"] {
        assert!(
            !may(&client, (verb, GROUP, "securityconnectors", "")).await?,
            "{verb} securityconnectors is granted"
        );
    }
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
        assert!(
            !may(&client, (verb, "", "secrets", "")).await?,
            "{verb} secrets is granted"
        );
    }
    for right in [
        ("patch", GROUP, "serverprotections", "status"),
        ("patch", GROUP, "securityconnectors", "status"),
        ("get", GROUP, "serverprotections", "status"),
        ("get", GROUP, "securityconnectors", "status"),
        ("use", GROUP, "azurecredentials", ""),
        ("obey", "policies.serverprotection.dev", "exemptions", ""),
        ("get", "", "serviceaccounts", ""),
        ("get", "", "namespaces", ""),
        ("update", "", "namespaces", ""),
        ("get", "", "pods", ""),
        ("*", "*", "*", ""),
    ] {
        assert!(!may(&client, right).await?, "{right:?} is granted");
    }
    // Also in practice.
    let secrets: Api<Secret> = Api::all(client);
    assert!(matches!(secrets.list(&ListParams::default()).await, Err(kube::Error::Api(s)) if s.code == 403));
    Ok(())
}

/// The sample's `RoleBinding`, and the component for all namespaces.
async fn the_controller_reads_secrets_only_where_a_namespace_lets_it(
    installed: Arc<Installed>,
) -> Result<(), Error> {
    let plane = &installed.0;
    plane.kubectl(&["create", "namespace", "lets-it"]).await?;
    plane.kubectl(&["create", "namespace", "does-not"]).await?;
    let secret = ["create", "secret", "generic", "s", "--from-literal=k=v", "-n"];
    for namespace in ["lets-it", "does-not"] {
        plane.kubectl(&[&secret[..], &[namespace]].concat()).await?;
    }
    grants::secrets(&plane.admin().await?, "lets-it").await?;
    let client = plane.client(CONTROLLER).await?;
    let secrets = |namespace: &str| Api::<Secret>::namespaced(client.clone(), namespace);
    let (lets_it, does_not) = (secrets("lets-it"), secrets("does-not"));
    eventually("the Secret", Duration::from_secs(10), || lets_it.get("s")).await?;
    let refused =
        |answer: Result<(), kube::Error>| matches!(answer, Err(kube::Error::Api(s)) if s.code == 403);
    assert!(refused(does_not.get("s").await.map(drop)));
    assert!(refused(lets_it.list(&ListParams::default()).await.map(drop)));
    Ok(())
}

/// The permission to patch connectors is wider than necessary; the admission policy restricts it.
async fn the_controller_writes_nothing_but_its_finalizer(installed: Arc<Installed>) -> Result<(), Error> {
    only_the_finalizer_is_writable(&installed.0, CONTROLLER, "default").await
}

async fn only_the_finalizer_is_writable(
    plane: &ControlPlane,
    controller: &str,
    namespace: &str,
) -> Result<(), Error> {
    let kind = connector_resource();
    let (users, controllers): (Api<DynamicObject>, Api<DynamicObject>) = (
        Api::namespaced_with(plane.admin().await?, namespace, &kind),
        Api::namespaced_with(plane.client(controller).await?, namespace, &kind),
    );
    let connector: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "serverprotection.dev/v1alpha1", "kind": "SecurityConnector",
        "metadata": {"name": "guarded", "finalizers": ["example.com/theirs"]},
        "spec": {"protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope",
            "type": "AWS", "aws": {"accountId": "123456789012"}},
    }))?;
    users.create(&PostParams::default(), &connector).await?;
    // A policy takes effect a moment after its creation.
    eventually("the policy's refusal", Duration::from_secs(30), || async {
        match patch(&controllers, json!({"spec": {"suspend": true}})).await {
            Err(kube::Error::Api(status)) if status.message.contains("may not write spec") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    for (what, expected_text) in [
        (json!({"labels": {"a": "b"}}), "labels or annotations"),
        (json!({"annotations": {"a": "b"}}), "labels or annotations"),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u"}]}),
            "owner references",
        ),
        (json!({"finalizers": []}), "no finalizer but"),
        (
            json!({"finalizers": ["example.com/theirs", "x.io/y"]}),
            "no finalizer but",
        ),
    ] {
        let refused = patch(&controllers, json!({ "metadata": what.clone() })).await;
        assert!(
            matches!(&refused, Err(kube::Error::Api(status)) if status.message.contains(expected_text)),
            "{what}: {refused:?}"
        );
    }
    let ours = json!(["example.com/theirs", "serverprotection.dev/azure"]);
    patch(&controllers, json!({"metadata": {"finalizers": ours}})).await?;
    let theirs = json!({"metadata": {"finalizers": ["example.com/theirs"]}});
    patch(&controllers, theirs).await?;
    write_status(&controllers).await?;
    // The policy does not restrict other users.
    let free = json!({"metadata": {"finalizers": [], "labels": {"a": "b"}}, "spec": {"suspend": true}});
    users
        .patch("guarded", &PatchParams::default(), &Patch::Merge(free))
        .await?;
    users.delete("guarded", &DeleteParams::default()).await?;
    Ok(())
}

async fn patch(connectors: &Api<DynamicObject>, patch: Value) -> Result<DynamicObject, kube::Error> {
    let params = PatchParams::default();
    connectors.patch("guarded", &params, &Patch::Merge(patch)).await
}

async fn write_status(connectors: &Api<DynamicObject>) -> Result<(), Error> {
    let mut connector = connectors.get("guarded").await?;
    connector.data["status"] = json!({"observedGeneration": 1});
    let params = PostParams::default();
    connectors.replace_status("guarded", &params, &connector).await?;
    Ok(())
}

async fn a_namespace_editor_may_edit_all_kinds_but_credentials(
    installed: Arc<Installed>,
) -> Result<(), Error> {
    // No controller aggregates ClusterRoles here, so the test binds the role itself.
    let plane = &installed.0;
    let labels = [
        "get",
        "clusterrole",
        "-l",
        "rbac.authorization.k8s.io/aggregate-to-edit=true",
        "-o",
        "name",
    ];
    assert!(
        plane
            .kubectl(&labels)
            .await?
            .contains("clusterrole.rbac.authorization.k8s.io/serverprotection-edit")
    );
    let admins = [
        "get",
        "clusterrole",
        "-l",
        "rbac.authorization.k8s.io/aggregate-to-admin=true",
        "-o",
        "name",
    ];
    let (editors, admins) = (plane.kubectl(&labels).await?, plane.kubectl(&admins).await?);
    let credentials = "clusterrole.rbac.authorization.k8s.io/serverprotection-credentials-edit";
    assert!(
        !editors.contains(credentials) && admins.contains(credentials),
        "{admins}"
    );
    for (user, roles) in [
        (
            "a-developer",
            &["serverprotection-view", "serverprotection-edit"][..],
        ),
        // What the role admin aggregates.
        (
            "an-admin",
            &["serverprotection-credentials-edit", "system:aggregate-to-admin"],
        ),
    ] {
        for role in roles {
            let (name, user) = (format!("{role}-of-{user}"), format!("--user={user}"));
            let binding = [
                "create",
                "rolebinding",
                &name,
                &user,
                &format!("--clusterrole={role}"),
            ];
            plane.kubectl(&binding).await?;
        }
    }
    let admin = plane.client("an-admin").await?;
    eventually("the admin's rights", Duration::from_secs(10), || async {
        for verb in ["create", "update", "patch", "delete"] {
            if !may(&admin, (verb, GROUP, "azurecredentials", "")).await? {
                return Err(Error::Other(format!("{verb} is not granted")));
            }
        }
        Ok(())
    })
    .await?;
    an_admin_lets_a_service_account_prove_an_identity_and_cannot_itself(&admin).await?;
    let client = plane.client("a-developer").await?;
    eventually("the developer's rights", Duration::from_secs(10), || async {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            if !may(&client, (verb, GROUP, "serverprotections", "")).await? {
                return Err(Error::Other(format!("{verb} is not granted")));
            }
        }
        Ok(())
    })
    .await?;
    assert!(
        !may(&client, ("patch", GROUP, "serverprotections", "status")).await?,
        "status is the controller's"
    );
    assert!(!may(&client, ("get", "", "secrets", "")).await?);
    assert!(may(&client, ("get", GROUP, "azurecredentials", "")).await?);
    for verb in ["create", "update", "patch", "delete", "use"] {
        assert!(
            !may(&client, (verb, GROUP, "azurecredentials", "")).await?,
            "{verb}"
        );
    }
    // Grants, and the labels that they select, are for administrators of the cluster.
    for user in [&client, &admin] {
        for verb in ["create", "update", "patch", "delete"] {
            for (group, resource) in [(GROUP, "clusterazurecredentials"), ("", "namespaces")] {
                let right = (verb, group, resource, "");
                assert!(!may(user, right).await?, "{right:?} is granted");
            }
        }
    }
    Ok(())
}

/// It binds the role for that, and can grant the verb in no other way.
async fn an_admin_lets_a_service_account_prove_an_identity_and_cannot_itself(
    admin: &Client,
) -> Result<(), Error> {
    assert!(!may(admin, ("use", GROUP, "azurecredentials", "")).await?);
    eventually("the right to bind", Duration::from_secs(10), || {
        grants::use_of(admin, "default", "an-admin-agrees")
    })
    .await?;
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "escalation"},
        "rules": [{"apiGroups": [GROUP], "resources": ["azurecredentials"], "verbs": ["use"]}],
    }))?;
    let roles: Api<Role> = Api::namespaced(admin.clone(), "default");
    let refused = roles.create(&PostParams::default(), &role).await;
    assert!(
        matches!(&refused, Err(kube::Error::Api(s)) if s.code == 403),
        "{refused:?}"
    );
    Ok(())
}

/// No pods run here, but the API server admits a pod of the Deployment as it would one of the kubelet.
async fn the_pod_is_admitted_to_the_restricted_namespace(installed: Arc<Installed>) -> Result<(), Error> {
    let plane = &installed.0;
    let deployment = [
        "get",
        "deployment",
        "serverprotection-controller",
        "-n",
        "serverprotection-system",
        "-o",
        "json",
    ];
    let deployment: serde_json::Value = serde_json::from_str(&plane.kubectl(&deployment).await?)?;
    let mut pod = deployment["spec"]["template"].clone();
    pod["metadata"]["name"] = "probe".into();
    let api: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(plane.admin().await?, "serverprotection-system");
    let dry_run = PostParams {
        dry_run: true,
        ..Default::default()
    };
    api.create(&dry_run, &serde_json::from_value(pod.clone())?)
        .await?;
    pod["spec"]["containers"][0]["securityContext"] = serde_json::Value::Null;
    let refused = api.create(&dry_run, &serde_json::from_value(pod)?).await;
    assert!(
        matches!(&refused, Err(kube::Error::Api(s)) if s.message.contains("PodSecurity")),
        "{refused:?}"
    );
    Ok(())
}
