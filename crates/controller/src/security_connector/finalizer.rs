//! The finalizer. It is present only while the deletion of the object has work to do in Azure, and it is the only
//! thing outside status that the controller writes.

use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use serverprotection_api::{FIELD_MANAGER, FINALIZER, SecurityConnector};
use serverprotection_core::security_connector::deletion::needs_finalizer;

use crate::context::Context;

/// Whether the object has the finalizer.
pub(super) fn is_on(meta: &ObjectMeta) -> bool {
    let mut all = meta.finalizers.iter().flatten();
    all.any(|finalizer| finalizer == FINALIZER)
}

/// Whether the finalizer is as the spec demands.
pub(super) fn is_settled(object: &SecurityConnector) -> bool {
    needs_finalizer(&object.spec) == is_on(object.meta())
}

/// Adds or removes the finalizer as the spec demands. Returns the new version of the object if it was written.
pub(super) async fn settle(
    object: &SecurityConnector,
    context: &Context,
) -> Result<Option<String>, kube::Error> {
    if is_settled(object) {
        return Ok(None);
    }
    set(object.meta(), needs_finalizer(&object.spec), context).await
}

/// Removes the finalizer, so that the object can be deleted.
pub(super) async fn remove(meta: &ObjectMeta, context: &Context) -> Result<(), kube::Error> {
    set(meta, false, context).await.map(drop)
}

/// The patch is based on the newest version and names it, because other clients may change other finalizers.
async fn set(meta: &ObjectMeta, expected: bool, context: &Context) -> Result<Option<String>, kube::Error> {
    let namespace = meta.namespace.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    let api: Api<PartialObjectMeta<SecurityConnector>> = Api::namespaced(context.client.clone(), &namespace);
    let Some(newest) = api.get_metadata_opt(&name).await? else {
        return Ok(None);
    };
    let deleting = newest.metadata.deletion_timestamp.is_some();
    if newest.uid() != meta.uid || is_on(&newest.metadata) == expected || (expected && deleting) {
        return Ok(None);
    }
    context.restrictions.finalizers(&api, &name).await?;
    let mut finalizers = newest.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if expected {
        finalizers.push(FINALIZER.into());
    }
    let patch = json!({"metadata": {
        "resourceVersion": newest.resource_version(),
        "finalizers": finalizers,
    }});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    match api.patch_metadata(&name, &params, &Patch::Merge(&patch)).await {
        Ok(written) => Ok(written.metadata.resource_version),
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
