//! Admission without a cluster: checks objects by the schema and the rules of their custom resource definition.

use jsonschema::Validator;
use kube::{CustomResourceExt as _, core::cel};
use serde_json::{Value, json};
use serverprotection_api::SecurityConnector;

/// Validates a connector as the API server would.
///
/// # Errors
///
/// Fails with one line per invalid field; each begins with the path of the field.
pub(super) fn admit(mut value: Value) -> Result<SecurityConnector, Vec<String>> {
    prune(&mut value);
    let wrong = names(&value);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let schema = schema().map_err(|error| vec![error])?;
    let fitting = fits(&schema, &value);
    if !fitting.is_empty() {
        return Err(fitting);
    }
    let object: SecurityConnector =
        serde_json::from_value(value.clone()).map_err(|error| vec![error.to_string()])?;
    let mut defaulted = serde_json::to_value(&object).map_err(|error| vec![error.to_string()])?;
    let mut wrong = Vec::new();
    if let (Some(given), Some(known)) = (value.get("spec"), defaulted.get("spec")) {
        unknown(given, known, "spec", &mut wrong);
    }
    // A status from another version of the controller is not an error of the user.
    if let Some(members) = defaulted.as_object_mut() {
        members.remove("status");
    }
    if let Err(errors) = cel::Validator::new().validate(&schema, &defaulted, None) {
        wrong.extend(
            errors
                .into_vec()
                .into_iter()
                .map(|error| format!("{}: {}", error.field_path, error.message)),
        );
    }
    if wrong.is_empty() { Ok(object) } else { Err(wrong) }
}

/// Validates the names of a related object, which become part of the output.
///
/// # Errors
///
/// Fails with one line per invalid field; each begins with the path of the field.
pub(super) fn related(value: &Value) -> Result<(), Vec<String>> {
    let mut wrong = names(value);
    wrong.extend(name_at(value, "spec.credentialRef.name", &SUBDOMAIN));
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Errors in name and namespace, which appear in comments of the output.
fn names(object: &Value) -> Vec<String> {
    let mut wrong: Vec<_> = name_at(object, "metadata.name", &SUBDOMAIN).into_iter().collect();
    if object.pointer("/metadata/name").is_none_or(Value::is_null) {
        wrong.push("metadata.name: is missing".into());
    }
    // As for kubectl, an empty namespace is none.
    if object
        .pointer("/metadata/namespace")
        .is_none_or(|namespace| namespace != "")
    {
        wrong.extend(name_at(object, "metadata.namespace", &LABEL));
    }
    wrong
}

/// The error in the name in this field, if it is present and not null.
fn name_at(object: &Value, field: &str, rule: &NameRule) -> Option<String> {
    let value = object.pointer(&format!("/{}", field.replace('.', "/")))?;
    let fits = value.as_str().is_some_and(|name| (rule.fits)(name));
    // Quoted as JSON; `printable` replaces what JSON does not escape.
    (!fits && !value.is_null()).then(|| format!("{field}: {value} {}", rule.message))
}

/// A rule of the API server for names.
struct NameRule {
    fits: fn(&str) -> bool,
    message: &'static str,
}

const SUBDOMAIN: NameRule = NameRule {
    fits: is_subdomain,
    message: "is not a valid object name: use at most 253 lower-case letters, digits, - and .; each part between dots must begin and end with a letter or digit",
};

const LABEL: NameRule = NameRule {
    fits: is_label,
    message: "is not a valid namespace: use at most 63 lower-case letters, digits and -; it must begin and end with a letter or digit",
};

fn schema() -> Result<Value, String> {
    let definition = SecurityConnector::crd();
    let schema = definition
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref());
    let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_ref());
    let schema = schema.ok_or("bug: the definition of SecurityConnector has no schema")?;
    serde_json::to_value(schema).map_err(|error| error.to_string())
}

/// Errors in types, patterns, lengths, enumerations and required fields of the spec.
fn fits(schema: &Value, object: &Value) -> Vec<String> {
    let spec = json!({"properties": {"spec": schema.pointer("/properties/spec")}, "required": ["spec"]});
    let validator: Validator = match jsonschema::draft4::new(&spec) {
        Ok(validator) => validator,
        Err(error) => {
            return vec![format!(
                "bug: the schema of SecurityConnector is not valid: {error}"
            )];
        }
    };
    let errors = validator.iter_errors(object);
    errors
        .map(|error| {
            let path = error
                .instance_path()
                .to_string()
                .trim_start_matches('/')
                .replace('/', ".");
            if path.is_empty() {
                error.to_string()
            } else {
                format!("{path}: {error}")
            }
        })
        .collect()
}

/// Removes explicit nulls, which the API server treats as absent fields.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// Reports unknown fields, which kubectl refuses too.
fn unknown(given: &Value, known: &Value, path: &str, wrong: &mut Vec<String>) {
    let Value::Object(members) = given else { return };
    for (name, member) in members {
        let path = format!("{path}.{name}");
        match known.get(name) {
            Some(known) => unknown(member, known, &path, wrong),
            // An empty object can equal a default, which is not serialized.
            None if member.as_object().is_some_and(serde_json::Map::is_empty) => {}
            None => wrong.push(format!("{path}: unknown field")),
        }
    }
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

fn is_part(name: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_edge(name.chars().next())
        && is_edge(name.chars().last())
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "SecurityConnector", "metadata": {"name": name}, "spec": spec})
    }

    fn spec() -> Value {
        json!({
            "protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope",
            "type": "AWS", "aws": {"accountId": "123456789012"}
        })
    }

    #[test]
    fn valid_objects_are_admitted() {
        let mut all = spec();
        all["tags"] = json!({});
        all["connectorName"] = Value::Null;
        all["agentlessScanning"] = json!({});
        all["aws"]["organization"] = json!({"stackSetName": "defender", "excludedAccountIds": []});
        let mut object = connector("aws-prod", &all);
        object["status"] = json!({"of": "a newer version"});
        object["metadata"]["creationTimestamp"] = Value::Null;
        let read = admit(object).unwrap();
        assert_eq!(read.metadata.name.as_deref(), Some("aws-prod"));
        assert_eq!(read.spec.aws.unwrap().account_id, "123456789012");
    }

    #[test]
    fn invalid_objects_are_refused_with_the_field() {
        for (path, value, expected_text) in [
            (
                "/aws/accountId",
                json!("1234"),
                "aws.accountId must be the 12-digit id of the AWS account",
            ),
            (
                "/aws/accountId",
                json!(123_456_789_012_i64),
                "spec.aws.accountId: 123456789012 is not of type",
            ),
            (
                "/type",
                json!("GCP"),
                "aws must be set when type is AWS, and must not be set otherwise",
            ),
            ("/type", json!("Azure"), "spec.type"),
            ("/location", json!("West Europe"), "spec.location"),
            (
                "/aws/roleArns",
                json!({"servers": "Servers"}),
                "aws.roleArns must contain ARNs",
            ),
            (
                "/aws/rolearns",
                json!({"servers": "x"}),
                "spec.aws.rolearns: unknown field",
            ),
            (
                "/aws/organization",
                json!({"stackSetName": "my set"}),
                "spec.aws.organization.stackSetName",
            ),
            ("/plan", json!({"tier": "P3"}), "spec.plan.tier"),
            ("/scanInterval", json!("30m"), "scanInterval must be whole hours"),
        ] {
            let mut spec = spec();
            let (parent, name) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[name] = value;
            let wrong = admit(connector("aws-prod", &spec)).unwrap_err();
            assert!(
                wrong.iter().any(|line| line.contains(expected_text)),
                "{path}: {wrong:#?}"
            );
        }
        let mut without = spec();
        without.as_object_mut().unwrap().remove("resourceGroup");
        assert!(admit(connector("aws-prod", &without)).unwrap_err()[0].contains("resourceGroup"));
    }

    #[test]
    fn a_name_cannot_break_out_of_a_comment() {
        let long = "a".repeat(254);
        for name in [
            "",
            "a\nrm -rf",
            "A",
            "-a",
            "a.",
            "a..b",
            "a.-b",
            &long,
            "a\u{2028}b",
        ] {
            let wrong = admit(connector(name, &spec())).unwrap_err();
            assert!(wrong[0].starts_with("metadata.name: \""), "{wrong:?}");
        }
        let mut nameless = connector("a", &spec());
        nameless["metadata"].as_object_mut().unwrap().remove("name");
        assert_eq!(admit(nameless).unwrap_err(), ["metadata.name: is missing"]);
        assert!(admit(connector("a.b-c.0", &spec())).is_ok());
    }

    #[test]
    fn a_namespace_cannot_break_out_of_a_comment() {
        let with = |namespace: Value| {
            let mut object = connector("aws-prod", &spec());
            object["metadata"]["namespace"] = namespace;
            object
        };
        let long = "a".repeat(64);
        let injected = "team\ntouch /tmp/pwned\n#";
        for namespace in [
            injected, "a\rb", "a\u{85}b", "Team", "a.b", "-a", "a-", "a b", &long,
        ] {
            for wrong in [
                admit(with(json!(namespace))).unwrap_err(),
                related(&with(json!(namespace))).unwrap_err(),
            ] {
                assert!(wrong[0].starts_with("metadata.namespace: \""), "{wrong:?}");
                assert!(!wrong[0].contains(['\n', '\r']), "{wrong:?}");
            }
        }
        for namespace in [json!(5), json!(["team"]), json!({})] {
            let wrong = admit(with(namespace)).unwrap_err();
            assert!(wrong[0].starts_with("metadata.namespace: "), "{wrong:?}");
        }
        for namespace in [json!("team-a"), json!("0"), json!(""), Value::Null] {
            assert!(admit(with(namespace.clone())).is_ok(), "{namespace}");
            assert!(related(&with(namespace)).is_ok());
        }
    }

    #[test]
    fn a_reference_in_a_related_object_is_a_name() {
        let reference =
            |name: &str| json!({"metadata": {"name": "prod"}, "spec": {"credentialRef": {"name": name}}});
        assert!(related(&reference("platform")).is_ok());
        let wrong = related(&reference("a\u{1b}[2J")).unwrap_err();
        assert!(wrong[0].starts_with("spec.credentialRef.name: "), "{wrong:?}");
    }
}
