//! Admission without a cluster: what the API server checks when an object of this operator is created, by the custom
//! resource definitions of this build.
//!
//! The order is that of the API server: metadata, unknown fields, nulls, defaults, schema, then the rules (CEL). Like
//! the API server, it leaves the rules out if the object has errors that make them meaningless.

mod metadata;
mod schema;

#[cfg(test)]
mod tests;

use kube::core::cel::{self, CompiledSchema, ErrorKind};
use serde::Serialize;
use serde_json::Value;
use serverprotection_api::GROUP;

pub(crate) use schema::{first_sentence, fits};

use crate::{documents::Object, error::CliError, unquoted};

/// A group that differs from ours in more characters is that of another product.
const OTHER_GROUP: usize = 6;

/// Something that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// Path of the field, such as `spec.plan.tier`.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do, if the message does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// What YAML did not read as text.
    #[serde(skip)]
    misread: Option<Misread>,
}

/// A value in a field with text, and the schema of the field, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Misread {
    value: Value,
    schema: Option<Value>,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            action: None,
            misread: None,
        }
    }

    /// The problem of a field with text; numbers are shown as in the source.
    fn explained(mut self, source: &str) -> Self {
        if let Some(Misread { value, schema }) = self.misread.take() {
            if value.is_number() {
                let written = unquoted::as_written(&value, source);
                self.message = format!("must be a string, but it is the number {written}");
            }
            self.action = Some(unquoted::advice(&value, source, schema.as_ref()));
        }
        self
    }

    pub(crate) fn action(self, action: impl Into<String>) -> Self {
        Self {
            action: Some(action.into()),
            ..self
        }
    }
}

/// A rule that only the API server can check, because it compares an object with the stored one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TransitionRule {
    pub(crate) kind: String,
    /// Path of the field, such as `spec.subscriptionId`.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// The kinds of this operator, as the custom resource definitions of this build describe them.
pub(crate) struct Definitions(Vec<Definition>);

struct Definition {
    kind: String,
    versions: Vec<String>,
    schema: Value,
    rules: CompiledSchema,
}

impl Definitions {
    /// Reads the definitions that `serverprotection crds` prints.
    ///
    /// # Errors
    ///
    /// Fails if a definition has no schema or a rule that cannot be compiled, which would be a bug.
    pub(crate) fn load() -> Result<Self, CliError> {
        let mut definitions = Vec::new();
        for crd in serverprotection_api::crds() {
            let kind = crd.spec.names.kind;
            let bug = |what: &str| CliError::new(format!("bug: the definition of {kind} {what}"));
            let versions: Vec<_> = crd
                .spec
                .versions
                .into_iter()
                .filter(|version| version.served)
                .collect();
            let names = versions.iter().map(|version| version.name.clone()).collect();
            let schema = versions.into_iter().next().and_then(|version| version.schema);
            let schema = schema
                .and_then(|schema| schema.open_api_v3_schema)
                .ok_or_else(|| bug("has no schema"))?;
            let schema = serde_json::to_value(schema).map_err(|error| bug("is not JSON").because(error))?;
            let rules = cel::compile_schema(&schema);
            if has_errors(&rules) {
                return Err(bug("has a rule that cannot be compiled"));
            }
            definitions.push(Definition {
                versions: names,
                schema,
                rules,
                kind,
            });
        }
        Ok(Self(definitions))
    }

    /// What the API server would refuse in an object of this operator's group; nothing if it would create the object.
    pub(crate) fn check(&self, object: &Object) -> Vec<Problem> {
        let Some(definition) = self.0.iter().find(|definition| definition.kind == object.kind) else {
            let kinds: Vec<_> = self.0.iter().map(|definition| definition.kind.as_str()).collect();
            let problem = Problem::new("kind", format!("{GROUP} has no kind {}", object.kind));
            return vec![problem.action(format!("use one of {}", kinds.join(", ")))];
        };
        let version = object.version.split('/').nth(1).unwrap_or_default();
        if !definition.versions.iter().any(|known| known == version) {
            let problem = Problem::new("apiVersion", format!("{} is not served", object.version));
            return vec![problem.action(format!("use {GROUP}/{}", definition.versions.join(" or ")))];
        }
        let problems = definition.check(object.value.clone()).into_iter();
        problems
            .map(|problem| problem.explained(&object.source))
            .collect()
    }

    /// What is wrong with the `apiVersion` of an object that is not of this operator's group, but looks as if it should
    /// be: the kind is ours, and there is no group or one that resembles ours.
    pub(crate) fn check_foreign(&self, object: &Object) -> Option<Problem> {
        let definition = self.0.iter().find(|definition| definition.kind == object.kind)?;
        let group = object.version.split_once('/').map_or("", |(group, _)| group);
        let is_other_product = !group.is_empty() && schema::distance(group, GROUP) > OTHER_GROUP;
        if is_other_product {
            return None;
        }
        let message = match object.version.as_str() {
            "" => "is required".to_owned(),
            version => format!("{version} has no kind {}", object.kind),
        };
        let action = format!("use {GROUP}/{}", definition.versions.join(" or "));
        Some(Problem::new("apiVersion", message).action(action))
    }

    /// The rules that [`Self::check`] cannot check.
    pub(crate) fn transition_rules(&self) -> Vec<TransitionRule> {
        let mut rules = Vec::new();
        for definition in &self.0 {
            schema::transition_rules(&definition.schema, "", &mut |field, message| {
                rules.push(TransitionRule {
                    kind: definition.kind.clone(),
                    field: field.to_owned(),
                    message: message.to_owned(),
                });
            });
        }
        rules
    }
}

impl Definition {
    fn check(&self, mut object: Value) -> Vec<Problem> {
        let mut problems = metadata::check(object.get("metadata"));
        // The API server drops the status of an object that is created.
        if let Some(members) = object.as_object_mut()
            && schema::property(&self.schema, "status").is_some()
        {
            members.remove("status");
        }
        schema::prune_nulls(&mut object, &self.schema);
        schema::set_defaults(&mut object, &self.schema);
        let found = schema::check_root(&object, &self.schema);
        let blocked = found.blocks_rules;
        problems.extend(found.problems);
        if !blocked {
            problems.extend(self.broken_rules(&object));
        }
        problems
    }

    fn broken_rules(&self, object: &Value) -> Vec<Problem> {
        let checked = cel::Validator::new().validate_compiled(&self.rules, object, None);
        let errors = checked
            .err()
            .map(cel::ValidationErrors::into_vec)
            .unwrap_or_default();
        let problem = |error: cel::ValidationError| match error.kind {
            ErrorKind::ValidationFailure => Problem::new(error.field_path, error.message),
            // For example a duration that is none.
            ErrorKind::EvaluationError => Problem::new(
                error.field_path,
                format!("a rule cannot be evaluated with this value: {}", error.message),
            ),
            _ => Problem::new(
                error.field_path,
                format!("bug: a rule cannot be evaluated: {}", error.message),
            )
            .action("check the object with kubectl apply --dry-run=server"),
        };
        errors.into_iter().map(problem).collect()
    }
}

fn has_errors(rules: &CompiledSchema) -> bool {
    let children = rules.properties.values().chain(rules.items.as_deref());
    rules.has_errors()
        || children
            .chain(rules.additional_properties.as_deref())
            .any(has_errors)
}
