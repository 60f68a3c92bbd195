//! Facts about Azure that could not be confirmed, each with two answers.
//!
//! A client that works with both answers of every switch does not depend on a guess.
//! `docs/emulator.md` documents the switches for users.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One unconfirmed fact about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// PUT `Standard` without `subPlan` on a P1 subscription.
    StandardWithoutSubPlan,
    /// Extensions omitted from a PUT that keeps tier and sub-plan.
    OmittedExtensions,
    /// Extensions omitted from a PUT that changes tier or sub-plan.
    OmittedExtensionsOnChange,
    /// The error code for a PUT on a resource under `enforce: "True"`.
    ResourcePutUnderEnforce,
    /// Extensions sent together with tier `Free`.
    ExtensionsWithFree,
    /// `MdeDesignatedSubscription` in a second subscription of a tenant.
    SecondDirectOnboarding,
    /// The window of the provider's budget of 750 reads and 250 writes.
    BudgetWindow,
    /// Whether Security Admin plus User Access Administrator is enough for extensions that assign roles.
    AccessAdministratorAssignsRoles,
    /// What later GETs report for an extension whose provisioning failed.
    FailedExtensionIsEnabled,
    /// The error code for a setting whose `kind` does not match its name.
    SettingsKindMismatch,
    /// Whether enabling P1 or P2 turns `WDATP` on.
    PlanEnablesIntegration,
    /// How `additionalExtensionProperties` of a PUT are combined with the stored ones.
    ExtensionProperties,
    /// What happens to stored properties when an enabled extension is sent without any.
    UnsentExtensionProperties,
    /// `FileIntegrityMonitoring` sent as enabled without its properties, while both are stored.
    MonitoringWithoutProperties,
    /// Whether `FileIntegrityMonitoring` needs its properties even if it is sent as disabled.
    DisabledMonitoring,
    /// Whether pricings have `FoundationalCspm` like the other plans.
    FoundationalCspm,
    /// What happens to direct onboarding that is enabled by a caller who is not Owner of the subscription.
    DirectOnboardingWithoutOwner,
    /// Subscriptions in a query that the caller cannot see.
    GraphInvisibleSubscriptions,
    /// The status of a PUT that changes a connector's account or cloud.
    ConnectorIdentifierChange,
    /// The status of a PUT that creates a second connector for an account of the tenant.
    DuplicateAccount,
    /// An AWS or GCP connector without its `CspmMonitor` offering.
    ConnectorWithoutCspm,
    /// How the offerings of a PATCH are combined with the stored ones.
    ConnectorPatchOfferings,
    /// Agentless scanning with sub-plan P1.
    ScannersWithP1,
    /// Whether the names of connectors are validated.
    ConnectorName,
    /// Whether a connector can only be in the provider's locations.
    ConnectorLocation,
    /// Whether Security Admin is enough to write connectors, or Contributor of their resource group is needed.
    ConnectorRole,
    /// A region of AWS that does not exist.
    UnknownAwsRegion,
    /// Arc provisioning enabled by a caller who may not assign roles.
    ArcWithoutRoleAssignment,
    /// Whether Defender deploys the sensor to Windows Server 2008 R2 and Azure Linux 3.
    UnconfirmedSystems,
    /// How a GET of an Arc machine without extensions shows that it has none.
    ArcMachineWithoutExtensions,
    /// Which service answers while Microsoft.Security is not registered: Defender for Cloud, or ARM before it.
    UnregisteredProvider,
    /// A client assertion that is sent a second time within its lifetime.
    RepeatedAssertion,
}

impl Switch {
    /// Every switch, in the order of the documentation.
    pub const ALL: [Self; 32] = [
        Self::StandardWithoutSubPlan,
        Self::OmittedExtensions,
        Self::OmittedExtensionsOnChange,
        Self::ResourcePutUnderEnforce,
        Self::ExtensionsWithFree,
        Self::SecondDirectOnboarding,
        Self::BudgetWindow,
        Self::AccessAdministratorAssignsRoles,
        Self::FailedExtensionIsEnabled,
        Self::SettingsKindMismatch,
        Self::PlanEnablesIntegration,
        Self::ExtensionProperties,
        Self::UnsentExtensionProperties,
        Self::MonitoringWithoutProperties,
        Self::DisabledMonitoring,
        Self::FoundationalCspm,
        Self::DirectOnboardingWithoutOwner,
        Self::GraphInvisibleSubscriptions,
        Self::ConnectorIdentifierChange,
        Self::DuplicateAccount,
        Self::ConnectorWithoutCspm,
        Self::ConnectorPatchOfferings,
        Self::ScannersWithP1,
        Self::ConnectorName,
        Self::ConnectorLocation,
        Self::ConnectorRole,
        Self::UnknownAwsRegion,
        Self::ArcWithoutRoleAssignment,
        Self::UnconfirmedSystems,
        Self::ArcMachineWithoutExtensions,
        Self::UnregisteredProvider,
        Self::RepeatedAssertion,
    ];

    /// The name in seeds and at the control endpoint.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StandardWithoutSubPlan => "standardWithoutSubPlan",
            Self::OmittedExtensions => "omittedExtensions",
            Self::OmittedExtensionsOnChange => "omittedExtensionsOnChange",
            Self::ResourcePutUnderEnforce => "resourcePutUnderEnforce",
            Self::ExtensionsWithFree => "extensionsWithFree",
            Self::SecondDirectOnboarding => "secondDirectOnboarding",
            Self::BudgetWindow => "budgetWindow",
            Self::AccessAdministratorAssignsRoles => "accessAdministratorAssignsRoles",
            Self::FailedExtensionIsEnabled => "failedExtensionIsEnabled",
            Self::SettingsKindMismatch => "settingsKindMismatch",
            Self::PlanEnablesIntegration => "planEnablesIntegration",
            Self::ExtensionProperties => "extensionProperties",
            Self::UnsentExtensionProperties => "unsentExtensionProperties",
            Self::MonitoringWithoutProperties => "monitoringWithoutProperties",
            Self::DisabledMonitoring => "disabledMonitoring",
            Self::FoundationalCspm => "foundationalCspm",
            Self::DirectOnboardingWithoutOwner => "directOnboardingWithoutOwner",
            Self::GraphInvisibleSubscriptions => "graphInvisibleSubscriptions",
            Self::ConnectorIdentifierChange => "connectorIdentifierChange",
            Self::DuplicateAccount => "duplicateAccount",
            Self::ConnectorWithoutCspm => "connectorWithoutCspm",
            Self::ConnectorPatchOfferings => "connectorPatchOfferings",
            Self::ScannersWithP1 => "scannersWithP1",
            Self::ConnectorName => "connectorName",
            Self::ConnectorLocation => "connectorLocation",
            Self::ConnectorRole => "connectorRole",
            Self::UnknownAwsRegion => "unknownAwsRegion",
            Self::ArcWithoutRoleAssignment => "arcWithoutRoleAssignment",
            Self::UnconfirmedSystems => "unconfirmedSystems",
            Self::ArcMachineWithoutExtensions => "arcMachineWithoutExtensions",
            Self::UnregisteredProvider => "unregisteredProvider",
            Self::RepeatedAssertion => "repeatedAssertion",
        }
    }

    /// The default answer, then the alternate one.
    pub const fn answers(self) -> [&'static str; 2] {
        match self {
            Self::StandardWithoutSubPlan => ["becomesP2", "staysP1"],
            Self::OmittedExtensions => ["unchanged", "defaults"],
            Self::OmittedExtensionsOnChange => ["defaults", "keepKnown"],
            Self::ResourcePutUnderEnforce => ["Forbidden", "Conflict"],
            Self::ExtensionsWithFree => ["InvalidInputJson", "ignored"],
            Self::SecondDirectOnboarding => ["lastWriterWins", "Conflict"],
            Self::BudgetWindow => ["5m", "1h"],
            Self::AccessAdministratorAssignsRoles | Self::PlanEnablesIntegration => ["yes", "no"],
            Self::FailedExtensionIsEnabled => ["True", "False"],
            Self::SettingsKindMismatch => ["InvalidRequestContent", "BadRequest"],
            Self::ExtensionProperties => ["replaceAll", "perKeyMerge"],
            Self::UnsentExtensionProperties => ["kept", "cleared"],
            Self::MonitoringWithoutProperties => ["accepted", "refused"],
            Self::DisabledMonitoring => ["unchecked", "validated"],
            Self::FoundationalCspm => ["listed", "unlisted"],
            Self::DirectOnboardingWithoutOwner => ["failed", "succeeded"],
            Self::GraphInvisibleSubscriptions => ["ignored", "refused"],
            Self::ConnectorIdentifierChange => ["BadRequest", "Conflict"],
            Self::DuplicateAccount => ["Conflict", "BadRequest"],
            Self::ConnectorWithoutCspm
            | Self::ScannersWithP1
            | Self::UnknownAwsRegion
            | Self::ArcWithoutRoleAssignment
            | Self::RepeatedAssertion => ["refused", "accepted"],
            Self::ConnectorPatchOfferings => ["replace", "mergeByType"],
            Self::ConnectorName => ["checked", "unchecked"],
            Self::ConnectorLocation => ["any", "listed"],
            Self::UnconfirmedSystems => ["ignored", "deployed"],
            Self::ArcMachineWithoutExtensions => ["emptyResources", "noResources"],
            Self::ConnectorRole => ["SecurityAdmin", "Contributor"],
            Self::UnregisteredProvider => ["SubscriptionNotRegistered", "MissingSubscriptionRegistration"],
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|switch| switch.name().eq_ignore_ascii_case(name))
    }
}

/// The switches that have their alternate answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches(BTreeSet<Switch>);

impl Switches {
    /// All switches with their alternate answer.
    pub fn alternate() -> Self {
        Self(Switch::ALL.into_iter().collect())
    }

    /// Whether the switch has its alternate (second) answer.
    pub fn flipped(&self, switch: Switch) -> bool {
        self.0.contains(&switch)
    }

    /// The current answer of a switch.
    pub fn answer(&self, switch: Switch) -> &'static str {
        let [default, alternate] = switch.answers();
        if self.flipped(switch) { alternate } else { default }
    }

    /// Sets one switch. The name `all` sets every switch; the values `default` and `alternate` work for each.
    ///
    /// # Errors
    ///
    /// Returns a message if there is no such switch, or if it has no such answer.
    pub fn set(&mut self, name: &str, answer: &str) -> Result<(), String> {
        if name.eq_ignore_ascii_case("all") {
            return self.set_all(answer);
        }
        let switch = Switch::named(name).ok_or_else(|| {
            let known: Vec<_> = Switch::ALL.iter().map(|switch| switch.name()).collect();
            format!("unknown switch '{name}'; known switches: {}", known.join(", "))
        })?;
        let [default, alternate] = switch.answers();
        if answer.eq_ignore_ascii_case(default) || answer.eq_ignore_ascii_case("default") {
            self.0.remove(&switch);
        } else if answer.eq_ignore_ascii_case(alternate) || answer.eq_ignore_ascii_case("alternate") {
            self.0.insert(switch);
        } else {
            return Err(format!(
                "switch '{name}': expected {default} or {alternate}, not '{answer}'"
            ));
        }
        Ok(())
    }

    /// Sets all switches to `default` or `alternate`.
    ///
    /// # Errors
    ///
    /// Returns a message for any other `answer`.
    pub fn set_all(&mut self, answer: &str) -> Result<(), String> {
        match answer {
            "default" => self.0.clear(),
            "alternate" => *self = Self::alternate(),
            other => return Err(format!("switches: expected default or alternate, not '{other}'")),
        }
        Ok(())
    }
}

impl Serialize for Switches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answers: BTreeMap<_, _> = Switch::ALL
            .into_iter()
            .map(|switch| (switch.name(), self.answer(switch)))
            .collect();
        answers.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Switches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answers = BTreeMap::<String, String>::deserialize(deserializer)?;
        let mut switches = Self::default();
        for (name, answer) in answers {
            switches.set(&name, &answer).map_err(serde::de::Error::custom)?;
        }
        Ok(switches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_set_and_read_back() {
        let mut switches = Switches::default();
        switches.set("budgetwindow", "1h").unwrap();
        assert_eq!(switches.answer(Switch::BudgetWindow), "1h");
        assert!(
            switches
                .set("budgetWindow", "2h")
                .unwrap_err()
                .contains("5m or 1h")
        );
        assert!(
            switches
                .set("colour", "red")
                .unwrap_err()
                .contains("standardWithoutSubPlan")
        );
        switches.set("all", "alternate").unwrap();
        assert!(Switch::ALL.iter().all(|switch| switches.flipped(*switch)));
        let copy: Switches = serde_json::from_value(serde_json::to_value(&switches).unwrap()).unwrap();
        assert_eq!(copy, switches);
    }
}
