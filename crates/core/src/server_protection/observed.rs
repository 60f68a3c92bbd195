//! What was read from Azure. A failed read is an observation too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serverprotection_api::Tier;

use super::{
    field::{ExtensionName, Property, Setting},
    property::StoredProperty,
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    reading::{Permissions, ReadResult},
};

/// Everything that one reconcile read. `None`: not read by this reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Whether Entra issued a token; if not, nothing else was read.
    pub credential: Result<(), AzureError>,
    /// The subscription itself.
    pub subscription: Option<ReadResult<Subscription>>,
    /// Registration of Microsoft.Security.
    pub registration: Option<ReadResult<RegistrationState>>,
    /// The plan `VirtualMachines`.
    pub plan: Option<ReadResult<Plan>>,
    /// The settings of Defender for Endpoint.
    pub settings: Option<ReadResult<Settings>>,
    /// The vulnerability-assessment setting: whether Defender Vulnerability Management is selected.
    pub assessment: Option<ReadResult<bool>>,
    /// What the identity may do.
    pub permissions: Option<ReadResult<Permissions>>,
    /// What other plans of the subscription mean for its servers.
    pub other_plans: Option<ReadResult<OtherPlans>>,
    /// Workspaces of the spec that were read, by resource id.
    pub workspaces: Vec<(String, ReadResult<Option<String>>)>,
}

impl Observed {
    /// Nothing was read, because Entra issued no token.
    pub fn without_credential(failure: AzureError) -> Self {
        Self {
            credential: Err(failure),
            ..Self::nothing()
        }
    }

    /// Nothing was read.
    pub fn nothing() -> Self {
        Self {
            credential: Ok(()),
            subscription: None,
            registration: None,
            plan: None,
            settings: None,
            assessment: None,
            permissions: None,
            other_plans: None,
            workspaces: Vec::new(),
        }
    }

    /// The most severe failure among the reads that decide about Ready: errors that need user action come before
    /// transient ones. Name, registration and permissions are optional, because a narrow role (Security Admin) may not
    /// read them; a plan that can be read needs none of them.
    pub fn failure(&self) -> Option<&AzureError> {
        let failure = self
            .failures()
            .min_by_key(|failure| failure.class.is_transient())?;
        match &self.registration {
            // The next step depends on the state of the registration. If that could not be read, report that error
            // instead.
            Some(Err(registration)) if failure.class == ErrorClass::NotRegistered => Some(registration),
            _ => Some(failure),
        }
    }

    /// The state of the registration, as far as it is known. As long as the provider itself responds that it is not
    /// registered, a registration that Azure Resource Manager calls complete has not reached it yet.
    pub fn registration_state(&self) -> Option<RegistrationState> {
        let state = self.registration.as_ref()?.as_ref().ok()?;
        let refused = self
            .failures()
            .any(|failure| failure.class == ErrorClass::NotRegistered);
        Some(match state {
            RegistrationState::Registered if refused => RegistrationState::Registering,
            state => state.clone(),
        })
    }

    fn failures(&self) -> impl Iterator<Item = &AzureError> {
        let reads = [
            self.credential.as_ref().err(),
            self.plan.as_ref().and_then(|read| read.as_ref().err()),
            self.settings.as_ref().and_then(|read| read.as_ref().err()),
            self.assessment.as_ref().and_then(|read| read.as_ref().err()),
        ];
        reads.into_iter().flatten()
    }
}

/// The subscription as ARM knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Display name.
    pub display_name: String,
    /// `Enabled`, `Disabled`, `Warned`, …
    pub state: String,
}

/// Registration of a resource provider (docs/azure-api.md 8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RegistrationState {
    Registered,
    Registering,
    NotRegistered,
}

/// The plan `VirtualMachines` of a subscription (docs/azure-api.md 1.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// P1, P2 or Free. A Standard plan without a subplan is P2.
    pub tier: Tier,
    /// Azure's `enforce`; absent on a Free plan.
    pub enforce: Option<bool>,
    /// The extensions as Azure returned them.
    pub extensions: Vec<Extension>,
    /// `resourcesCoverageStatus`.
    pub coverage: Option<String>,
    /// The remaining time of the free trial; `None` or zero if there is none.
    pub free_trial_remaining: Option<Duration>,
    /// Last move to Standard.
    pub enabled_since: Option<Timestamp>,
    /// Who manages the plan instead of Azure Resource Manager, in Azure's words (docs/azure-api.md 1.8).
    pub managed_by: Option<String>,
}

impl Plan {
    /// The extension of this name.
    pub fn extension(&self, name: &ExtensionName) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.name == *name)
    }

    /// Whether the extension of this name is on.
    pub fn is_on(&self, name: &ExtensionName) -> bool {
        self.extension(name).is_some_and(|extension| extension.enabled)
    }

    /// The value of a property of an extension.
    pub fn property(&self, name: &ExtensionName, property: &Property) -> Option<&StoredProperty> {
        self.extension(name)?.properties.get(property)
    }
}

/// An extension of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// Its name.
    pub name: ExtensionName,
    /// Whether it is on.
    pub enabled: bool,
    /// Its properties.
    pub properties: BTreeMap<Property, StoredProperty>,
}

/// What the other plans of a subscription mean for its servers (docs/azure-api.md 1.4, 8.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherPlans {
    /// Whether foundational CSPM is on; `None` if Azure does not list it.
    pub foundational_cspm: Option<bool>,
    /// The plans that keep agentless scanning on.
    pub scanning: BTreeSet<ScanningPlan>,
}

/// A plan that shares agentless scanning with Defender for Servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScanningPlan {
    /// Defender CSPM.
    CloudPosture,
    /// Defender for Containers.
    Containers,
}

impl ScanningPlan {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CloudPosture, Self::Containers];

    /// Azure's name, which status shows too.
    pub const fn azure_name(self) -> &'static str {
        match self {
            Self::CloudPosture => "CloudPosture",
            Self::Containers => "Containers",
        }
    }

    /// The name that the portal shows, with Azure's name.
    pub fn describe(azure_name: &str) -> String {
        let mut known = Self::ALL.iter();
        match known.find(|plan| plan.azure_name() == azure_name) {
            Some(Self::CloudPosture) => format!("Defender CSPM ({azure_name})"),
            Some(Self::Containers) => format!("Defender for Containers ({azure_name})"),
            None => azure_name.to_owned(),
        }
    }
}

/// The result for an extension, which Azure reports only in the response to a write (docs/azure-api.md 1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationStatus {
    /// The extension.
    pub extension: ExtensionName,
    /// `Succeeded`, or any other code for a failure.
    pub code: String,
    /// Azure's message.
    pub message: String,
}

impl OperationStatus {
    /// Whether the extension is on and works; every other code is a failure.
    pub fn succeeded(&self) -> bool {
        self.code.eq_ignore_ascii_case("Succeeded")
    }
}

/// The settings of Defender for Endpoint that are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeSet<Setting>);

impl Settings {
    /// Whether a setting is on.
    pub fn is_on(&self, setting: Setting) -> bool {
        self.0.contains(&setting)
    }

    /// Records whether a setting is on.
    pub fn set(&mut self, setting: Setting, on: bool) {
        if on {
            self.0.insert(setting);
        } else {
            self.0.remove(&setting);
        }
    }
}

impl FromIterator<Setting> for Settings {
    fn from_iter<I: IntoIterator<Item = Setting>>(on: I) -> Self {
        Self(on.into_iter().collect())
    }
}
