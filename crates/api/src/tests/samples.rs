//! The samples that users copy.

use std::{fs, path::Path};

use serde::Deserialize as _;
use serde_json::Value;

use crate::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};

/// Every document of our kinds in deploy/samples can be parsed, has no unknown field, and passes the rules.
#[test]
fn samples_are_admitted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/samples");
    let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten();
    let folders = [
        "client-certificate",
        "cluster-credential",
        "connectors",
        "workload-identity",
    ]
    .map(|name| folder.join(name));
    for file in files(&folder).chain(folders.iter().flat_map(|folder| files(folder))) {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        for document in documents {
            let kind = document["kind"].as_str().unwrap_or_default();
            let written = &document["spec"];
            let (read, result) = match kind {
                "ServerProtection" => {
                    let object = ServerProtection::deserialize(&document).unwrap();
                    (serde_json::to_value(&object.spec).unwrap(), object.validate_cel())
                }
                "SecurityConnector" => {
                    let object = SecurityConnector::deserialize(&document).unwrap();
                    (serde_json::to_value(&object.spec).unwrap(), object.validate_cel())
                }
                "AzureCredential" => {
                    let object = AzureCredential::deserialize(&document).unwrap();
                    (serde_json::to_value(&object.spec).unwrap(), object.validate_cel())
                }
                "ClusterAzureCredential" => {
                    let object = ClusterAzureCredential::deserialize(&document).unwrap();
                    (serde_json::to_value(&object.spec).unwrap(), object.validate_cel())
                }
                _ => continue,
            };
            assert!(
                result.is_ok(),
                "{}: {:?}",
                path.display(),
                result.err().map(|errors| errors.to_string())
            );
            known(&path, "spec", written, &read);
        }
    }
}

fn known(path: &Path, field: &str, written: &Value, read: &Value) {
    if let Value::Object(members) = written {
        for (name, value) in members {
            let field = format!("{field}.{name}");
            let Some(read) = read.get(name) else {
                panic!("{}: {field} is not a field of this kind", path.display())
            };
            known(path, &field, value, read);
        }
    }
}
