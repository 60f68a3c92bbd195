//! What a namespace grants: that the controller may read its Secrets, and that a service account proves an identity; and
//! what a user may do in the end.

use crate::{
    error::Error,
    objects::as_user,
    users::{CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE},
};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{Patch, PostParams},
};
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";
/// Role of the Lease, and its binding.
const LEASE: &str = "lease";

/// The `ClusterRole` that lets the controller read Secrets, and its binding in a namespace.
pub const SECRET_READER: &str = "serverprotection-secret-reader";

/// The `ClusterRole` that lets a service account prove an Azure identity.
pub const IDENTITY_USER: &str = "serverprotection-identity-user";

/// Lets the controller read the Secrets of a namespace by name.
pub async fn secrets(client: &Client, namespace: &str) -> Result<(), Error> {
    let controller = controller_account(CONTROLLER_ACCOUNT);
    bind(
        client,
        namespace,
        SECRET_READER,
        cluster_role(SECRET_READER),
        controller,
    )
    .await
}

/// Lets a controller with another account read them, too.
pub async fn secrets_for(client: &Client, namespace: &str, account: &str) -> Result<(), Error> {
    let controller = controller_account(account);
    bind(
        client,
        namespace,
        account,
        cluster_role(SECRET_READER),
        controller,
    )
    .await
}

/// An account in the namespace of the controller.
fn controller_account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": CONTROLLER_NAMESPACE})
}

/// Lets a service account of a namespace prove an Azure identity.
pub async fn use_of(client: &Client, namespace: &str, account: &str) -> Result<(), Error> {
    let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": namespace});
    bind(client, namespace, account, cluster_role(IDENTITY_USER), subject).await
}

/// Lets the controller keep its Lease in this namespace.
pub async fn lease(client: &Client, namespace: &str) -> Result<(), Error> {
    let role = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": LEASE},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "verbs": ["get", "list", "watch", "create", "update"]}]});
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles.patch(LEASE, &as_user(), &Patch::Apply(role)).await?;
    let role = json!({"apiGroup": GROUP, "kind": "Role", "name": LEASE});
    bind(
        client,
        namespace,
        LEASE,
        role,
        controller_account(CONTROLLER_ACCOUNT),
    )
    .await
}

/// Reference to a `ClusterRole`.
fn cluster_role(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": name})
}

async fn bind(
    client: &Client,
    namespace: &str,
    name: &str,
    role: Value,
    subject: Value,
) -> Result<(), Error> {
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let binding = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding",
        "metadata": {"name": name}, "subjects": [subject], "roleRef": role});
    bindings.patch(name, &as_user(), &Patch::Apply(binding)).await?;
    Ok(())
}

/// Verb, API group, resource, subresource. An empty text is none.
pub type Right<'t> = (&'t str, &'t str, &'t str, &'t str);

/// Whether the user of this client has a right in a namespace, or in all if `namespace` is empty.
pub async fn may(
    client: &Client,
    (verb, group, resource, subresource): Right<'_>,
    namespace: &str,
) -> Result<bool, Error> {
    let text = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
    let resource_attributes = Some(ResourceAttributes {
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        subresource: text(subresource),
        namespace: text(namespace),
        ..Default::default()
    });
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes,
        ..Default::default()
    };
    let review = SelfSubjectAccessReview {
        spec,
        ..Default::default()
    };
    let answer = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}
