//! Who may use a `ClusterAzureCredential` for what (docs/grants.md).
//!
//! A grant is a pair: these namespaces, these subscriptions. A use is granted only if one grant covers it alone: two
//! grants never add up, neither for two namespaces nor for a subscription and what its spec refers to. What is not known
//! grants nothing.

pub mod references;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serverprotection_api::{Grant, NamespaceRequirement, NamespaceSelector, SelectorOperator};

use self::references::Reference;
use crate::azure_error::{AzureError, ErrorClass};

/// The code of a credential that the namespace may not use, or that does not exist: both are the same for a tenant.
pub const CREDENTIAL_NOT_GRANTED: &str = "CredentialNotGranted";
/// The code of a subscription for which the namespace may not use the credential.
pub const SUBSCRIPTION_NOT_GRANTED: &str = "SubscriptionNotGranted";
/// The code of a subscription in a resource id of the spec that the grant does not contain.
pub const REFERENCE_NOT_GRANTED: &str = "ReferenceNotGranted";
/// The code of an installation that does not use such credentials.
pub const CLUSTER_CREDENTIALS_OFF: &str = "ClusterCredentialsOff";
/// The code of an unknown answer: the grant names management groups, and what is in them cannot be read.
pub const MANAGEMENT_GROUPS_UNREADABLE: &str = "ManagementGroupsUnreadable";

/// Whether an error is about grants, not about the credential itself.
pub fn decided(failure: &AzureError) -> bool {
    let codes = [
        CREDENTIAL_NOT_GRANTED,
        SUBSCRIPTION_NOT_GRANTED,
        REFERENCE_NOT_GRANTED,
        MANAGEMENT_GROUPS_UNREADABLE,
        CLUSTER_CREDENTIALS_OFF,
    ];
    codes.contains(&failure.code.as_str())
}

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// What an object wants to do with a credential.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The labels of its namespace; `None` if the namespace is not known.
    pub labels: Option<&'a Labels>,
    /// The subscription that it protects, in lower case.
    pub subscription: &'a str,
    /// The subscriptions that its spec names beside it.
    pub references: &'a [Reference],
}

/// The management groups above a subscription.
#[derive(Clone, Copy, Debug)]
pub enum Ancestors<'a> {
    /// Their ids.
    Known(&'a [String]),
    /// They were not read, or cannot be read.
    Unknown,
}

/// Whether a use is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// One grant covers it.
    Granted,
    /// No grant covers it, whatever the management groups are.
    Denied(Denial),
    /// It depends on the management groups above the subscription, which are unknown.
    Unknown,
}

/// What no grant contains, from the least to the most that is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The namespace.
    Namespace,
    /// The subscription, in the grants that select the namespace.
    Subscription,
    /// A subscription that the spec names, in the grants that select the namespace and contain its subscription.
    Reference(Reference),
}

/// Whether one of the grants covers the use.
pub fn grant(grants: &[Grant], usage: Use<'_>, ancestors: Ancestors<'_>) -> Access {
    let mut best = Access::Denied(Denial::Namespace);
    let Some(labels) = usage.labels else {
        return best;
    };
    for grant in grants.iter().filter(|grant| selects(grant, labels)) {
        let access = covers(grant, usage, ancestors);
        if rank(&access) > rank(&best) {
            best = access;
        }
    }
    best
}

/// How much an answer grants. What is unknown may be a grant, so that it is more than a denial.
const fn rank(access: &Access) -> u8 {
    match access {
        Access::Denied(Denial::Namespace) => 0,
        Access::Denied(Denial::Subscription) => 1,
        Access::Denied(Denial::Reference(_)) => 2,
        Access::Unknown => 3,
        Access::Granted => 4,
    }
}

/// Whether a grant that selects the namespace covers the rest of the use.
fn covers(grant: &Grant, usage: Use<'_>, ancestors: Ancestors<'_>) -> Access {
    let listed = contains(&grant.subscriptions, usage.subscription);
    let is_below = |groups: &[String]| {
        groups
            .iter()
            .any(|group| contains(&grant.management_groups, group))
    };
    let covered = match ancestors {
        _ if listed => Some(true),
        _ if grant.management_groups.is_empty() => Some(false),
        Ancestors::Known(groups) => Some(is_below(groups)),
        Ancestors::Unknown => None,
    };
    if covered == Some(false) {
        return Access::Denied(Denial::Subscription);
    }
    let missing = usage.references.iter().find(|reference| {
        let named = &reference.subscription;
        !named.eq_ignore_ascii_case(usage.subscription)
            && !contains(&grant.subscriptions, named)
            && !contains(&grant.referenced_subscriptions, named)
    });
    match (covered, missing) {
        (_, Some(reference)) => Access::Denied(Denial::Reference(reference.clone())),
        (None, None) => Access::Unknown,
        (Some(_), None) => Access::Granted,
    }
}

fn contains(all: &[String], id: &str) -> bool {
    all.iter().any(|known| known.eq_ignore_ascii_case(id))
}

/// Whether a grant is about namespaces with these labels. A selector without a requirement selects nothing, unlike
/// elsewhere in Kubernetes; admission refuses it.
pub fn selects(grant: &Grant, labels: &Labels) -> bool {
    let Some(selector) = &grant.namespace_selector else {
        return false;
    };
    let NamespaceSelector {
        match_labels,
        match_expressions,
    } = selector;
    if match_labels.is_empty() && match_expressions.is_empty() {
        return false;
    }
    let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    match_labels.iter().all(has) && match_expressions.iter().all(|one| meets(one, labels))
}

fn meets(requirement: &NamespaceRequirement, labels: &Labels) -> bool {
    let NamespaceRequirement {
        key,
        operator,
        values,
    } = requirement;
    let value = labels.get(key);
    match operator {
        SelectorOperator::In => value.is_some_and(|value| values.contains(value)),
        SelectorOperator::NotIn => value.is_none_or(|value| !values.contains(value)),
        SelectorOperator::Exists => value.is_some(),
        SelectorOperator::DoesNotExist => value.is_none(),
    }
}

impl Denial {
    /// The denial as an error of the object. Says nothing about other namespaces, not even whether the credential exists.
    pub fn error(&self, credential: &str, namespace: &str, subscription: &str) -> AzureError {
        match self {
            Self::Namespace => refused(
                CREDENTIAL_NOT_GRANTED,
                format!(
                    "ClusterAzureCredential {credential} does not exist, or none of its grants selects namespace {namespace}"
                ),
            ),
            Self::Subscription => refused(
                SUBSCRIPTION_NOT_GRANTED,
                format!(
                    "No grant of ClusterAzureCredential {credential} lets namespace {namespace} protect subscription {subscription}"
                ),
            ),
            Self::Reference(Reference {
                field,
                subscription: named,
            }) => refused(
                REFERENCE_NOT_GRANTED,
                format!(
                    "{field} names subscription {named}, which the grant of ClusterAzureCredential {credential} for namespace {namespace} and subscription {subscription} does not contain"
                ),
            ),
        }
    }
}

fn refused(code: &str, message: String) -> AzureError {
    AzureError {
        class: ErrorClass::Credential,
        code: code.into(),
        message,
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The error of an object whose use depends on management groups that cannot be read. Not a denial: it is tried again.
pub fn unreadable(credential: &str, subscription: &str, cause: &AzureError) -> AzureError {
    AzureError {
        class: match &cause.class {
            class if class.is_transient() => class.clone(),
            _ => ErrorClass::Transient,
        },
        code: MANAGEMENT_GROUPS_UNREADABLE.into(),
        message: format!(
            "The grant of ClusterAzureCredential {credential} depends on the management groups of subscription {subscription}, which cannot be read: {}",
            cause.to_message().problem_text()
        ),
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}
