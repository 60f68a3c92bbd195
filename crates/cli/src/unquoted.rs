//! Numbers and booleans where a field has text: YAML makes them of an account id, a project number or a name without
//! quotes. The API server only says that the type is wrong.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::{documents::Object, error::CliError, printable};

/// Checks the spec and the names of an object of this operator; other objects pass.
///
/// # Errors
///
/// Fails with one error that names every such field.
pub(crate) fn check(object: &Object) -> Result<(), CliError> {
    let wrong = if object.is_ours() {
        fields(&object.kind, &object.value)
    } else {
        Vec::new()
    };
    if wrong.is_empty() {
        return Ok(());
    }
    let kind = printable::one_line(&object.kind);
    let name = printable::one_line(object.metadata("name"));
    Err(CliError::new(format!(
        "{} is not valid:\n  {}",
        [&*kind, &*name].join(" ").trim_end(),
        wrong.join("\n  ")
    )))
}

/// One line per field of an object of this kind that must be put in quotes; each begins with the path of the field.
fn fields(kind: &str, object: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for field in ["name", "namespace"] {
        let value = object.get("metadata").and_then(|metadata| metadata.get(field));
        if let Some(value) = value.filter(|value| is_scalar(value)) {
            wrong.push(line(&format!("metadata.{field}"), value));
        }
    }
    let definitions = serverprotection_api::crds();
    let definition = definitions
        .iter()
        .find(|definition| definition.spec.names.kind == kind);
    let schema = definition.and_then(|definition| {
        let version = definition.spec.versions.first()?;
        let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        schema.properties.as_ref()?.get("spec")
    });
    if let (Some(schema), Some(spec)) = (schema, object.get("spec")) {
        walk("spec", schema, spec, &mut wrong);
    }
    wrong
}

fn walk(path: &str, schema: &JSONSchemaProps, value: &Value, wrong: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{}", printable::one_line(name));
                let known = schema.properties.as_ref().and_then(|known| known.get(name));
                let known = known.or(match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
                    _ => None,
                });
                if let Some(schema) = known {
                    walk(&path, schema, member, wrong);
                }
            }
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (number, item) in items.iter().enumerate() {
                    walk(&format!("{path}[{number}]"), schema, item, wrong);
                }
            }
        }
        _ if schema.type_.as_deref() == Some("string") && is_scalar(value) => wrong.push(line(path, value)),
        _ => {}
    }
}

fn is_scalar(value: &Value) -> bool {
    value.is_number() || value.is_boolean()
}

fn line(path: &str, value: &Value) -> String {
    let kind = if value.is_number() { "number" } else { "boolean" };
    format!("{path}: YAML reads the value as the {kind} {value}: put it in quotes, exactly as it should be")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::documents;

    /// The error about a YAML document.
    fn error(text: &str) -> Option<String> {
        let texts = [("a.yaml".to_owned(), text.to_owned())];
        let checked = documents::for_each(&texts, |object| check(&object));
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn a_number_instead_of_an_id_is_to_be_put_in_quotes() {
        let spec = |more: &str| {
            format!(
                "apiVersion: serverprotection.dev/v1alpha1\nkind: SecurityConnector\nmetadata: {{name: a}}\nspec: {{{more}}}\n"
            )
        };
        for (more, path) in [
            ("aws: {accountId: 123456789012}", "spec.aws.accountId"),
            ("aws: {accountId: 012345678901}", "spec.aws.accountId"),
            ("gcp: {projectNumber: 843025268399}", "spec.gcp.projectNumber"),
            ("gcp: {projectId: 1e6}", "spec.gcp.projectId"),
            (
                "aws: {organization: {excludedAccountIds: ['1', 210987654321]}}",
                "spec.aws.organization.excludedAccountIds[1]",
            ),
            ("tags: {costCenter: 4711}", "spec.tags.costCenter"),
            ("tags: {production: true}", "spec.tags.production"),
            ("protectionRef: {name: 5}", "spec.protectionRef.name"),
        ] {
            let error = error(&spec(more)).unwrap_or_else(|| panic!("{more} was taken"));
            assert!(
                error.contains(&format!(
                    "SecurityConnector a is not valid:\n  {path}: YAML reads"
                )),
                "{error}"
            );
            assert!(error.contains("put it in quotes"), "{error}");
        }
        assert_eq!(
            error(&spec("aws: {accountId: '012345678901'}, suspend: true")),
            None
        );
    }

    #[test]
    fn every_kind_and_the_names_are_checked_and_nothing_else() {
        let object = |kind: &str, more: &Value| {
            let mut object = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": {}});
            for (name, value) in more.as_object().unwrap() {
                object[name] = value.clone();
            }
            error(&object.to_string())
        };
        let tenant = object(
            "AzureCredential",
            &json!({"spec": {"tenantId": 5, "clientId": 1.5}}),
        )
        .unwrap();
        assert!(
            tenant.contains("spec.tenantId: ") && tenant.contains("spec.clientId: "),
            "{tenant}"
        );
        let id = object("ServerProtection", &json!({"spec": {"subscriptionId": 5}})).unwrap();
        assert!(id.contains("spec.subscriptionId: "), "{id}");
        let name = object(
            "ServerProtection",
            &json!({"metadata": {"name": 5, "namespace": true}}),
        )
        .unwrap();
        assert!(
            name.contains("metadata.name: ") && name.contains("metadata.namespace: "),
            "{name}"
        );
        assert_eq!(
            object(
                "ServerProtection",
                &json!({"spec": {"machines": {"minimumProtectedPercent": 5}}})
            ),
            None
        );
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 5}});
        assert_eq!(error(&other.to_string()), None);
    }
}
