//! What requests write and read, as far as the checks compare it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::state::Tier;

/// Something that is written as a whole: a plan, a setting, the assessment, a connector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Subscription, in lower case.
    pub subscription: String,
    /// `plan/VirtualMachines`, `setting/WDATP`, `assessment`, `connector/GROUP/NAME`.
    pub name: String,
}

/// The content of a subject at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub subject: Subject,
    /// Its content, as comparable text.
    pub text: String,
    /// The tier of a plan.
    pub tier: Option<Tier>,
    /// Whether an extension of the plan failed.
    pub failed: bool,
    /// The parts of others in a connector that exists, by path.
    pub foreign: Option<BTreeMap<String, Value>>,
    /// A connector that the service created for a member of an organization.
    pub member: bool,
}
