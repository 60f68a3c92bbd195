//! Numbers and booleans where a field has text: YAML makes them of an account id, a project number or a name without
//! quotes. The API server only says that the type is wrong.
//!
//! The advice shows the number as it was written, because YAML loses leading zeros.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::core::cel;
use serde_json::Value;

use crate::{admission, documents::Object, error::CliError, printable};

/// Checks the spec and the names of an object of this operator; other objects pass.
///
/// # Errors
///
/// Fails with one error that names every such field.
pub(crate) fn check(object: &Object) -> Result<(), CliError> {
    let wrong = if object.is_ours() {
        fields(object)
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

/// A value as it is written in the source, for example `012345678901`; of a number that the source has in two forms, the
/// value that YAML reads.
pub(crate) fn as_written(value: &Value, source: &str) -> String {
    let Some(number) = value.as_f64() else {
        return value.to_string();
    };
    let words = source.split(|c: char| c.is_whitespace() || "[]{},:".contains(c));
    let mut written: Vec<_> = words.filter(|word| readings(word).contains(&number)).collect();
    written.sort_unstable();
    written.dedup();
    match written.as_slice() {
        [written] => (*written).to_owned(),
        _ => value.to_string(),
    }
}

/// The numbers that a reader of YAML may see in a word.
fn readings(word: &str) -> Vec<f64> {
    let digits = word.replace('_', "");
    if !digits.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Vec::new();
    }
    let other = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
    let other = other.into_iter().filter_map(|(prefix, base)| {
        let number = u32::from_str_radix(digits.strip_prefix(prefix)?, base);
        number.ok().map(f64::from)
    });
    digits.parse().into_iter().chain(other).collect()
}

/// What to write instead of a number or boolean: the value in quotes, unless a field with this schema would refuse it.
pub(crate) fn advice(value: &Value, source: &str, schema: Option<&Value>) -> String {
    let written = as_written(value, source);
    let quoted = Value::from(written.as_str());
    let rules = schema.map(|schema| cel::Validator::new().validate(schema, &quoted, None));
    let broken = rules.and_then(Result::err).map(cel::ValidationErrors::into_vec);
    if let Some(broken) = broken.into_iter().flatten().next() {
        return broken.message;
    }
    if let Some(schema) = schema.filter(|schema| !admission::fits(&quoted, schema)) {
        let description = admission::first_sentence(schema).unwrap_or("text");
        return format!("the field is: {description}");
    }
    if value.is_number() {
        format!("put it in quotes: {quoted}")
    } else {
        "put it in quotes: without them, YAML reads this word as a boolean".to_owned()
    }
}

/// One line per field of the object that must be a text; each begins with the path of the field.
fn fields(object: &Object) -> Vec<String> {
    let mut found = Found {
        source: &object.source,
        lines: Vec::new(),
    };
    for field in ["name", "namespace"] {
        let metadata = object.value.get("metadata");
        let value = metadata.and_then(|metadata| metadata.get(field));
        if let Some(value) = value.filter(|value| is_scalar(value)) {
            found.add(&format!("metadata.{field}"), value, None);
        }
    }
    let definitions = serverprotection_api::crds();
    let definition = definitions
        .iter()
        .find(|definition| definition.spec.names.kind == object.kind);
    let schema = definition.and_then(|definition| {
        let version = definition.spec.versions.first()?;
        let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        schema.properties.as_ref()?.get("spec")
    });
    if let (Some(schema), Some(spec)) = (schema, object.value.get("spec")) {
        found.walk("spec", schema, spec);
    }
    found.lines
}

struct Found<'a> {
    source: &'a str,
    lines: Vec<String>,
}

impl Found<'_> {
    fn walk(&mut self, path: &str, schema: &JSONSchemaProps, value: &Value) {
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
                        self.walk(&path, schema, member);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                    for (number, item) in items.iter().enumerate() {
                        self.walk(&format!("{path}[{number}]"), schema, item);
                    }
                }
            }
            _ if schema.type_.as_deref() == Some("string") && is_scalar(value) => {
                self.add(path, value, serde_json::to_value(schema).ok().as_ref());
            }
            _ => {}
        }
    }

    fn add(&mut self, path: &str, value: &Value, schema: Option<&Value>) {
        let kind = if value.is_number() { "number" } else { "boolean" };
        let written = as_written(value, self.source);
        let advice = advice(value, self.source, schema);
        self.lines.push(format!(
            "{path}: YAML reads the value as the {kind} {written}: {advice}"
        ));
    }
}

fn is_scalar(value: &Value) -> bool {
    value.is_number() || value.is_boolean()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::documents;

    /// The error about a YAML document.
    fn error(text: &str) -> Option<String> {
        let texts = [documents::Text::new("a.yaml", text)];
        let checked = documents::for_each(&texts, |object| check(&object));
        checked.err().map(|errors| CliError::all(errors).to_string())
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
                    "SecurityConnector a is not valid:\n  {path}: YAML reads "
                )),
                "{error}"
            );
        }
        for (more, advice) in [
            (
                "aws: {accountId: 012345678901}",
                "put it in quotes: \"012345678901\"",
            ),
            ("aws: {accountId: 5}", "12-digit id"),
            ("tags: {production: true}", "put it in quotes: without them"),
            ("tags: {costCenter: 4_711}", "put it in quotes: \"4_711\""),
            // In quotes, it would still be no duration.
            ("scanInterval: 4", "whole hours from 1h to 24h, for example 4h"),
        ] {
            let error = error(&spec(more)).unwrap_or_else(|| panic!("{more} was taken"));
            assert!(error.contains(advice), "{error}");
        }
        assert_eq!(
            error(&spec("aws: {accountId: '012345678901'}, suspend: true")),
            None
        );
    }

    #[test]
    fn a_number_is_shown_as_it_was_written() {
        for (written, value) in [
            ("012345678901", json!(12_345_678_901.0)),
            ("017", json!(15)),
            ("0x1F", json!(31)),
            ("1e6", json!(1e6)),
            ("1_000", json!(1000)),
        ] {
            assert_eq!(as_written(&value, &format!("a: [{written}] # 5\n")), written);
        }
        // Not clear which one it was.
        assert_eq!(as_written(&json!(8), "a: 8\nb: 010"), "8");
        assert_eq!(as_written(&json!(true), "a: on"), "true");
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
