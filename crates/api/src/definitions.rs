//! The custom resource definitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;

use crate::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};

/// All definitions, in the order in which they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        ServerProtection::crd(),
        SecurityConnector::crd(),
        AzureCredential::crd(),
        ClusterAzureCredential::crd(),
    ];
    definitions.iter_mut().for_each(prepare_status);
    definitions
}

/// File name of a definition in `crds/`: group and plural.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// Makes status atomic, and gives a new object `status.observedGeneration: -1`. Without it, kstatus considers the object Current before its
/// first reconcile (docs/architecture.md 2.5).
fn prepare_status(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
            status.nullable = None;
            // One writer writes the whole status. Managed fields for each of its members would be as long as the
            // status, and cost the API server a third of its time for each write.
            status.x_kubernetes_map_type = Some("atomic".into());
        }
    }
}
