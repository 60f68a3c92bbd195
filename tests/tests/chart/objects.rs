//! Rendered objects: parsed, and compared without what only Helm adds.

use std::collections::BTreeMap;

use serde_json::Value;
use serverprotection_tests::Error;

/// Labels and annotations that Helm charts have, and files for kubectl do not.
const OF_HELM: [&str; 5] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "helm.sh/resource-policy",
];

/// The objects of a text with YAML documents.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, Error> {
    let objects: Result<Vec<Value>, _> = serde_saphyr::from_multiple(text);
    let objects = objects.map_err(|error| Error::Other(error.to_string()))?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The only object of a kind.
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "several objects of the kind {kind}");
    object
}

/// Kind, namespace and name.
pub(crate) fn name(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!(
        "{} {}/{}",
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name")
    )
}

/// The objects by name, without hooks and without what only Helm adds.
pub(crate) fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let is_hook = |object: &Value| !object["metadata"]["annotations"]["helm.sh/hook"].is_null();
    let mut comparable = BTreeMap::new();
    for mut object in objects.into_iter().filter(|object| !is_hook(object)) {
        without_helm(&mut object);
        // A release takes its own tag.
        if let Some(image) = object.pointer_mut("/spec/template/spec/containers/0/image") {
            *image = image.as_str().unwrap().split(':').next().unwrap().into();
        }
        // In deploy/base, the definitions are copies of crds/.
        if object["kind"] == "CustomResourceDefinition" {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
        assert!(comparable.insert(name(&object), object).is_none());
    }
    comparable
}

fn without_helm(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_helm),
        Value::Object(fields) => {
            for name in OF_HELM {
                fields.remove(name);
            }
            fields.values_mut().for_each(without_helm);
            fields.retain(|name, value| {
                let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                !(empty && (name == "labels" || name == "annotations"))
            });
        }
        // A bound of a definition is 1.0 in crds/, and kustomize writes 1.
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0) {
                *value = whole.into();
            }
        }
        _ => {}
    }
}
