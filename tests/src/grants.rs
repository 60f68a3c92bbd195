//! What a namespace grants: that the controller may read its Secrets, and that a service account proves an identity.

use crate::{
    error::Error,
    objects::as_user,
    users::{CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE},
};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, Client, api::Patch};
use serde_json::{Value, json};

/// The `ClusterRole` that lets the controller read Secrets, and its binding in a namespace.
pub const SECRET_READER: &str = "serverprotection-secret-reader";

/// The `ClusterRole` that lets a service account prove an Azure identity.
pub const IDENTITY_USER: &str = "serverprotection-identity-user";

/// Lets the controller read the Secrets of a namespace by name.
pub async fn secrets(client: &Client, namespace: &str) -> Result<(), Error> {
    let controller = controller_account(CONTROLLER_ACCOUNT);
    bind(client, namespace, SECRET_READER, SECRET_READER, controller).await
}

/// Lets a controller with another account read them, too.
pub async fn secrets_for(client: &Client, namespace: &str, account: &str) -> Result<(), Error> {
    let controller = controller_account(account);
    bind(client, namespace, account, SECRET_READER, controller).await
}

/// An account in the namespace of the controller.
fn controller_account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": CONTROLLER_NAMESPACE})
}

/// Lets a service account of a namespace prove an Azure identity.
pub async fn use_of(client: &Client, namespace: &str, account: &str) -> Result<(), Error> {
    let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": namespace});
    bind(client, namespace, account, IDENTITY_USER, subject).await
}

async fn bind(client: &Client, namespace: &str, name: &str, role: &str, subject: Value) -> Result<(), Error> {
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}});
    bindings.patch(name, &as_user(), &Patch::Apply(binding)).await?;
    Ok(())
}

/// Lets the controller keep its Lease in this namespace.
pub async fn lease(client: &Client, namespace: &str) -> Result<(), Error> {
    let group = "rbac.authorization.k8s.io";
    let role = json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "lease"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "verbs": ["get", "list", "watch", "create", "update"]}]});
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles.patch("lease", &as_user(), &Patch::Apply(role)).await?;
    let subject = controller_account(CONTROLLER_ACCOUNT);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "lease"}, "subjects": [subject],
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "lease"}});
    bindings
        .patch("lease", &as_user(), &Patch::Apply(binding))
        .await?;
    Ok(())
}
