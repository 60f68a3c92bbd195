//! The check of the finalizer policy. The connectors belong to users, so a finding must not depend on what one of them
//! contains: the patch differs each time, and connectors of several namespaces are checked.

use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use serverprotection_api::SecurityConnector;

use super::{Path, Restrictions, finding::Finding};

/// A label that the controller never writes.
const FORBIDDEN_LABEL: &str = "serverprotection.dev/self-test";
/// The number of connectors that one check uses.
const SAMPLES: usize = 3;

type Connectors = Api<PartialObjectMeta<SecurityConnector>>;

impl Restrictions {
    /// Checks with connectors of different namespaces; `None` if there are none, or if they cannot be listed.
    pub(super) async fn check_connectors(&self) -> Option<Finding> {
        let mut checked = Vec::new();
        let mut findings = Vec::new();
        while findings.len() < SAMPLES {
            let Some((namespace, name)) = self.next_connector(&checked).await else {
                break;
            };
            let connectors = Api::namespaced(self.client.clone(), &namespace);
            findings.push(forbidden_patch(&connectors, &name).await);
            checked.push(match self.watch_namespace {
                Some(_) => format!("metadata.name!={name}"),
                None => format!("metadata.namespace!={namespace}"),
            });
        }
        let finding = Finding::of_all(&findings)?;
        self.record(Path::Finalizers, finding);
        Some(finding)
    }

    /// Checks with this connector.
    pub(super) async fn check_connector(&self, connectors: &Connectors, name: &str) {
        let finding = forbidden_patch(connectors, name).await;
        self.record(Path::Finalizers, finding);
    }

    /// Namespace and name of a connector that these field selectors do not exclude.
    async fn next_connector(&self, excluded: &[String]) -> Option<(String, String)> {
        let all: Connectors = match &self.watch_namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let params = ListParams::default().limit(1).fields(&excluded.join(","));
        let first = all.list_metadata(&params).await.ok()?.items.into_iter().next()?;
        Some((first.namespace()?, first.name_any()))
    }
}

/// Sets a label that the policy must refuse. Its value is new, because a patch that changes nothing is allowed.
async fn forbidden_patch(connectors: &Connectors, name: &str) -> Finding {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let value = uuid::Uuid::new_v4().to_string();
    let patch = json!({"metadata": {"labels": {FORBIDDEN_LABEL: value}}});
    let answer = connectors
        .patch_metadata(name, &params, &Patch::Merge(&patch))
        .await;
    match &answer {
        // Another admission plugin removed the label before the policy saw it.
        Ok(patched) if patched.labels().get(FORBIDDEN_LABEL) != Some(&value) => Finding::Unknown,
        answer => Finding::of(answer),
    }
}
