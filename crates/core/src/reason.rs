//! Condition types, and the reasons of conditions and events: the words that programs may rely on.
//!
//! `docs/status.md` is generated from `status_reference`, which says what each of them means.

/// A closed set of words, each spelled as its variant.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "status_reference says what each word means")]
        pub enum $name { $($variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it is written in status.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
    };
}

words! {
    /// The type of a condition.
    ConditionType {
        Ready,
        Claimed,
        CredentialReady,
        ProviderRegistered,
        PlanEnabled,
        ExtensionsProvisioned,
        EndpointIntegrationEnabled,
        VulnerabilityAssessmentEnabled,
        ConnectorConfigured,
        CloudAuthenticated,
        Healthy,
        PermissionsSufficient,
        MachinesProtected,
        ConnectorsReady,
        Drifted,
        Reconciling,
        Stalled,
        Contested,
        Suspended,
    }
}

words! {
    /// The reason of a condition, chosen by this program.
    Reason {
        AccessDenied,
        AccessNotProven,
        AccountConnectedElsewhere,
        AgentlessScanningNeedsP2,
        AllReady,
        ApplicationDisabled,
        ApplicationNotFound,
        Applying,
        AssertionRefused,
        AudienceUnknown,
        AuthenticationFailed,
        AwaitingAccount,
        AwaitingProtection,
        AwaitingRegistration,
        AzureUnavailable,
        BelowMinimum,
        BlockedByConditionalAccess,
        ClaimConflicted,
        ClientCertificateExpiresSoon,
        ClientCertificateNotValid,
        ClientCertificateRefused,
        ClientCertificateRevoked,
        ClientSecretRefused,
        ClockSkewed,
        CloudAuthenticationFailed,
        Configured,
        Connected,
        Contested,
        Creating,
        Deleting,
        Differs,
        Disabled,
        Enabled,
        EntraUnreachable,
        ExtensionFailed,
        FederatedCredentialMissing,
        FoundationalCspmOff,
        Free,
        Held,
        HeldByAnother,
        InSync,
        InternalError,
        IssuerNotTrusted,
        LocationDiffers,
        MachinesAppear,
        ManagedByOrganization,
        ManagedElsewhere,
        MissingPermission,
        NameTaken,
        NoConnectors,
        NoDrift,
        NoMachines,
        NoReadAccess,
        NoneManaged,
        NotAvailableInCloud,
        NotConnected,
        NotCreated,
        NotEnabled,
        NotFound,
        NotNeeded,
        NotObserved,
        NotReadable,
        NotReady,
        NotRegistered,
        NotReported,
        ObservationStale,
        Observed,
        Partial,
        PartlyEnabled,
        PermissionMissing,
        PlanDiffers,
        PlanEnabled,
        PlanFree,
        Progressing,
        Protected,
        ProtectionNotFound,
        ProviderNotRegistered,
        Provisioned,
        Provisioning,
        ReductionNeedsApproval,
        RefusedByAzure,
        Registered,
        Registering,
        RegistrationStuck,
        Reserved,
        ResourceGroupMissing,
        ResultLost,
        Retrying,
        RetryingExtension,
        ScanFailed,
        ScanStale,
        Settling,
        SignedIn,
        Sufficient,
        Suppressed,
        Suspended,
        SuspendedBySpec,
        TargetChanged,
        TenantInAnotherCloud,
        TenantNotFound,
        TenantRestricted,
        Throttled,
        TokenIssued,
        Unreadable,
        UpdateInProgress,
        WaitingForCloud,
        Withheld,
        Writing,
        Written,
    }
}

words! {
    /// The reason of an event about something that was done or found. When a condition turns, the event has the
    /// condition's reason.
    EventReason {
        ClaimLost,
        ClaimTaken,
        CloudAuthenticationFailed,
        ConnectionHealthy,
        ConnectionNotHealthy,
        ConnectorCreated,
        ConnectorDeleted,
        ConnectorLeftBehind,
        ConnectorRepaired,
        ConnectorRetained,
        ConnectorWritten,
        ConnectorsNotReady,
        ConnectorsReady,
        DeletionWaits,
        EndpointIntegrationRepaired,
        EndpointIntegrationWritten,
        InternalError,
        MachineScanFailed,
        MachinesBelowMinimum,
        MachinesNotReadable,
        MachinesProtected,
        ObservationFailed,
        PlanRepaired,
        PlanWritten,
        ProviderRegistrationRequested,
        ResourceGroupCreated,
        Resumed,
        Suspended,
        VulnerabilityAssessmentRepaired,
        VulnerabilityAssessmentWritten,
        WriteFailed,
    }
}

/// The reason of a condition as it is written: one of ours, or the code of an error of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReasonText {
    /// One of ours.
    Ours(Reason),
    /// The code of an error, a word in `CamelCase`.
    Code(String),
}

impl ReasonText {
    /// As it is written in status.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ours(reason) => reason.as_str(),
            Self::Code(code) => code,
        }
    }
}

impl From<Reason> for ReasonText {
    fn from(reason: Reason) -> Self {
        Self::Ours(reason)
    }
}
