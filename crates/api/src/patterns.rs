//! The forms of text fields, as CEL rules. A `pattern` of a schema would be checked as well, but a user who breaks it sees
//! a regular expression; a rule has a message that says what is right.

use schemars::Schema;
use serde_json::{Value, json};

/// A GUID in lower case.
pub(crate) const GUID: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/// The name of a Kubernetes object.
pub(crate) const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A label of DNS.
pub(crate) const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// The name of a resource group. It is a segment of a URL.
pub(crate) const RESOURCE_GROUP: &str = r"^[-\p{L}\p{N}_.()]*[-\p{L}\p{N}_()]$";

/// The id of a management group.
pub(crate) const MANAGEMENT_GROUP: &str = "^[-a-zA-Z0-9_.()]+$";

/// The resource id of a Log Analytics workspace. Its names are segments of a URL: they contain no character that could
/// change a path, and do not end with a period.
pub(crate) const WORKSPACE_ID: &str = r"^/[sS]ubscriptions/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/[rR]esource[gG]roups/[-\p{L}\p{N}_.()]*[-\p{L}\p{N}_()]/providers/[mM]icrosoft[.][oO]perational[iI]nsights/workspaces/[-a-zA-Z0-9_.]*[-a-zA-Z0-9_]$";

/// The resource id of an Azure Arc private link scope, or nothing.
pub(crate) const PRIVATE_LINK_SCOPE_ID: &str = r"^$|^/[sS]ubscriptions/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/[rR]esource[gG]roups/[-\p{L}\p{N}_.()]*[-\p{L}\p{N}_()]/providers/[mM]icrosoft[.][hH]ybrid[cC]ompute/[pP]rivate[lL]ink[sS]copes/[-a-zA-Z0-9_.]*[-a-zA-Z0-9_]$";

/// The email address of a GCP service account.
pub(crate) const SERVICE_ACCOUNT: &str = "^[a-z][-a-z0-9]*@[a-z0-9.-]+[.]iam[.]gserviceaccount[.]com$";

/// The id of a workload identity provider of GCP.
pub(crate) const PROVIDER: &str = "^[a-z0-9-]{4,32}$";

/// The rule of a duration: at least and at most so long, in hours, minutes and seconds. CEL's own error about a text that
/// is no duration would not say what is right, so the form is checked first.
pub(crate) fn duration(least: &str, most: &str) -> String {
    format!(
        "self != '' && self.matches('^([0-9]{{1,5}}h)?([0-9]{{1,7}}m)?([0-9]{{1,9}}s)?$') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    )
}

/// Gives a text field the rule that it matches the pattern.
pub(crate) fn text(pattern: &'static str, message: &'static str) -> impl FnMut(&mut Schema) {
    move |schema: &mut Schema| add(schema.ensure_object().entry(RULES), &matches(pattern), message)
}

/// Gives a text field the rule that it has at most so many characters and matches the pattern. The maximum length of the
/// schema should be larger: a text that exceeds it is refused without the message.
pub(crate) fn short_text(
    most: usize,
    pattern: &'static str,
    message: &'static str,
) -> impl FnMut(&mut Schema) {
    let rule = format!("size(self) <= {most} && {}", matches(pattern));
    move |schema: &mut Schema| add(schema.ensure_object().entry(RULES), &rule, message)
}

/// Gives each item of a list of texts the rule that it matches the pattern.
pub(crate) fn each(pattern: &'static str, message: &'static str) -> impl FnMut(&mut Schema) {
    let rule = matches(pattern);
    each_by_rule(rule, message)
}

/// Gives each item of a list of texts a rule.
pub(crate) fn each_by_rule(rule: impl Into<String>, message: &'static str) -> impl FnMut(&mut Schema) {
    let rule = rule.into();
    move |schema: &mut Schema| {
        if let Some(items) = schema.get_mut("items").and_then(Value::as_object_mut) {
            add(items.entry(RULES), &rule, message);
        }
    }
}

const RULES: &str = "x-kubernetes-validations";

fn add(rules: serde_json::map::Entry<'_>, rule: &str, message: &str) {
    if let Value::Array(rules) = rules.or_insert_with(|| json!([])) {
        rules.push(json!({"rule": rule, "message": message}));
    }
}

/// The pattern as a string of CEL, which has escapes of its own.
fn matches(pattern: &str) -> String {
    format!(
        "self.matches('{}')",
        pattern.replace('\\', r"\\").replace('\'', r"\'")
    )
}
