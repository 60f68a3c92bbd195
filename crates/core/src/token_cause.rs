//! Why Entra issues no token: the AADSTS codes that an application can meet, each with one action
//! (docs/azure-api.md 9.2).

/// Why Entra issues no token. Each cause has one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenCause {
    /// The client secret is wrong or has expired.
    ClientSecret,
    /// The application does not have the certificate, or its copy in Entra has expired.
    ClientCertificate,
    /// The certificate is revoked.
    ClientCertificateRevoked,
    /// Entra finds that the certificate is not valid at this time.
    ClientCertificateNotValid,
    /// The assertion is for another application or another Entra.
    Assertion,
    /// The tenant does not exist in this cloud.
    Tenant,
    /// The tenant is in another cloud.
    Cloud,
    /// The application does not exist in the tenant.
    Application,
    /// The application is disabled.
    ApplicationDisabled,
    /// The tenant does not know Azure Resource Manager under the audience of the token.
    Audience,
    /// The application trusts no service account with this issuer, subject and audience.
    FederatedCredential,
    /// Entra cannot read the keys of the cluster, or the token is not signed with one of them.
    Issuer,
    /// The assertion, such as a service account token, is not valid at this time.
    Clock,
    /// A Conditional Access policy blocks the application.
    ConditionalAccess,
    /// A proxy restricts the tenants to which applications may sign in.
    TenantRestriction,
    /// Entra is overloaded or unavailable.
    Unavailable,
}

/// The codes of each cause. The name in Microsoft's reference, or in public reports, is beside each code.
const CODES: &[(&str, TokenCause)] = &[
    ("AADSTS7000215", TokenCause::ClientSecret), // InvalidClientSecret
    ("AADSTS7000222", TokenCause::ClientSecret), // InvalidClientSecretExpiredKeysProvided
    ("AADSTS700027", TokenCause::ClientCertificate), // InvalidKeyError: no such key, or another signature
    ("AADSTS50012", TokenCause::ClientCertificate), // AuthenticationFailed: the same, in older answers
    ("AADSTS7000214", TokenCause::ClientCertificateRevoked), // CertificateHasBeenRevoked
    ("AADSTS7000277", TokenCause::ClientCertificateRevoked), // CertificateWasRevoked
    ("AADSTS1000502", TokenCause::ClientCertificateNotValid), // CertificateIsOutsideValidityWindow
    ("AADSTS7000274", TokenCause::ClientCertificateNotValid), // CertificateNotWithinValidityPeriod
    ("AADSTS700021", TokenCause::Assertion),     // the assertion names another application
    ("AADSTS700023", TokenCause::Assertion),     // the audience of the assertion is another Entra
    ("AADSTS90002", TokenCause::Tenant),         // InvalidTenantName
    ("AADSTS900023", TokenCause::Tenant),        // the identifier is neither a GUID nor a domain
    ("AADSTS90019", TokenCause::Tenant),         // MissingTenantRealm
    ("AADSTS50049", TokenCause::Cloud),          // NoSuchInstanceForDiscovery
    ("AADSTS90038", TokenCause::Cloud),          // NationalCloudTenantRedirection
    ("AADSTS90051", TokenCause::Cloud),          // InvalidNationalCloudId
    ("AADSTS900382", TokenCause::Cloud),         // a confidential client across clouds
    ("AADSTS900432", TokenCause::Cloud),         // the same
    ("AADSTS700016", TokenCause::Application),   // UnauthorizedClient_DoesNotMatchRequest
    ("AADSTS7000229", TokenCause::Application),  // no service principal in the tenant
    ("AADSTS7000112", TokenCause::ApplicationDisabled), // UnauthorizedClientApplicationDisabled
    ("AADSTS70001", TokenCause::ApplicationDisabled), // the application is disabled
    ("AADSTS50001", TokenCause::Audience),       // InvalidResource
    ("AADSTS500011", TokenCause::Audience),      // InvalidResourceServicePrincipalNotFound
    ("AADSTS70021", TokenCause::FederatedCredential), // no matching federated identity record
    ("AADSTS700211", TokenCause::FederatedCredential), // ... for the issuer
    ("AADSTS700212", TokenCause::FederatedCredential), // ... for the audience
    ("AADSTS700213", TokenCause::FederatedCredential), // ... for the subject
    ("AADSTS7002138", TokenCause::FederatedCredential), // ... the subject differs in its case
    ("AADSTS70025", TokenCause::FederatedCredential), // no federated credential at all
    ("AADSTS50027", TokenCause::Issuer),         // InvalidJwtToken
    ("AADSTS50166", TokenCause::Issuer),         // the external endpoint failed
    ("AADSTS90061", TokenCause::Issuer),         // the external OIDC endpoint failed
    ("AADSTS900612", TokenCause::Issuer),        // the keys of the issuer cannot be parsed
    ("AADSTS700024", TokenCause::Clock),         // the assertion is not within its valid time range
    ("AADSTS53003", TokenCause::ConditionalAccess), // BlockedByConditionalAccess
    ("AADSTS530032", TokenCause::ConditionalAccess), // BlockedByConditionalAccessOnSecurityPolicy
    ("AADSTS50002", TokenCause::TenantRestriction), // NotAllowedTenant
    ("AADSTS500021", TokenCause::TenantRestriction), // Restrict-Access-To-Tenants
    ("AADSTS500022", TokenCause::TenantRestriction), // the same
    ("AADSTS50033", TokenCause::Unavailable),    // RetryableError
    ("AADSTS90006", TokenCause::Unavailable),    // ExternalServerRetryableError
    ("AADSTS90012", TokenCause::Unavailable),    // RequestTimeout
    ("AADSTS90024", TokenCause::Unavailable),    // RequestBudgetExceededError
    ("AADSTS90033", TokenCause::Unavailable),    // MsodsServiceUnavailable
    ("AADSTS90055", TokenCause::Unavailable),    // TenantThrottlingError
    ("AADSTS90090", TokenCause::Unavailable),    // GraphRetryableError
    ("AADSTS90091", TokenCause::Unavailable),    // GraphServiceUnreachable
];

impl TokenCause {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::ClientSecret,
        Self::ClientCertificate,
        Self::ClientCertificateRevoked,
        Self::ClientCertificateNotValid,
        Self::Assertion,
        Self::Tenant,
        Self::Cloud,
        Self::Application,
        Self::ApplicationDisabled,
        Self::Audience,
        Self::FederatedCredential,
        Self::Issuer,
        Self::Clock,
        Self::ConditionalAccess,
        Self::TenantRestriction,
        Self::Unavailable,
    ];

    /// The cause of a code such as `AADSTS7000215`; `None` for a code that is not in the table.
    pub fn of(code: &str) -> Option<Self> {
        let found = CODES.iter().find(|(known, _)| *known == code);
        found.map(|(_, cause)| *cause)
    }

    /// Its codes.
    pub fn codes(self) -> impl Iterator<Item = &'static str> {
        let of_cause = CODES.iter().filter(move |(_, cause)| *cause == self);
        of_cause.map(|(code, _)| *code)
    }

    /// What the user should do, in the imperative. `None`: the controller retries by itself.
    pub const fn action(self) -> Option<&'static str> {
        Some(match self {
            Self::ClientSecret => {
                "Put a valid client secret into the Secret; the controller reads it again within five minutes"
            }
            Self::ClientCertificate => {
                "Register the certificate of the Secret (tls.crt) with the application in Entra, as docs/credentials.md shows; after each renewal, too"
            }
            Self::ClientCertificateRevoked => {
                "Issue another certificate, and register it with the application in Entra"
            }
            Self::ClientCertificateNotValid => {
                "Renew the certificate, and synchronize the clock of the controller's node if it is valid now"
            }
            Self::Assertion => {
                "Fix clientId and tenantId of the AzureCredential, or --authority-host of the controller: Entra expects an assertion for another application or authority"
            }
            Self::Tenant => "Fix tenantId of the AzureCredential",
            Self::Cloud => {
                "Fix tenantId of the AzureCredential, or start the controller with the --cloud of the tenant"
            }
            Self::Application => {
                "Fix clientId of the AzureCredential, or create its application in the tenant"
            }
            Self::ApplicationDisabled => {
                "Enable the application in Entra (its enterprise application, \"Enabled for users to sign in\")"
            }
            Self::Audience => {
                "Fix tenantId of the AzureCredential, or --cloud and --audience of the controller: the tenant does not know this Azure Resource Manager"
            }
            Self::FederatedCredential => {
                "Add a federated credential for this service account (issuer, subject, audience; their case matters) to the application"
            }
            Self::Issuer => {
                "Make the issuer of the cluster (its discovery document and keys) reachable from the internet with the current keys"
            }
            Self::Clock => "Synchronize the clocks of the nodes of the API server and of the controller",
            Self::ConditionalAccess => {
                "Exclude the application from the Conditional Access policy, or allow the address from which the controller reaches Entra; Entra's sign-in log names the policy"
            }
            Self::TenantRestriction => "Allow the tenant in the proxy that restricts sign-ins to tenants",
            Self::Unavailable => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_has_one_cause_and_each_cause_has_codes_and_its_own_action() {
        let codes: BTreeSet<_> = CODES.iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), CODES.len(), "a code is listed twice");
        let causes: BTreeSet<_> = CODES.iter().map(|(_, cause)| *cause).collect();
        assert_eq!(causes, BTreeSet::from(TokenCause::ALL));
        let actions: BTreeSet<_> = TokenCause::ALL.into_iter().map(TokenCause::action).collect();
        assert_eq!(
            actions.len(),
            TokenCause::ALL.len(),
            "two causes have the same action"
        );
    }

    #[test]
    fn codes_are_compared_as_a_whole() {
        assert_eq!(
            TokenCause::of("AADSTS70021"),
            Some(TokenCause::FederatedCredential)
        );
        assert_eq!(TokenCause::of("AADSTS700210"), None);
        assert_eq!(TokenCause::of("invalid_client"), None);
    }
}
