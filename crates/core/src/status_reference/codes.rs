//! Codes of errors that appear as reasons.

use super::CodeEntry;

const fn code(code: &'static str, action: &'static str) -> CodeEntry {
    CodeEntry { code, action }
}

/// Codes that users meet as the reason of `Stalled`; others mean that Azure refused the request.
pub const CODES: &[CodeEntry] = &[
    code(
        "CredentialMissing",
        "Set `spec.credentialRef` of the ServerProtection; the object was created before the field was required.",
    ),
    code(
        "CredentialNotFound",
        "Create the AzureCredential, or fix `credentialRef`.",
    ),
    code(
        "CredentialNotGranted",
        "Fix `credentialRef`, or ask an administrator of the cluster for a grant. A ClusterAzureCredential that does not exist has this code, too.",
    ),
    code(
        "SubscriptionNotGranted",
        "Fix `subscriptionId`, or ask an administrator of the cluster to add the subscription to the grant of the namespace.",
    ),
    code(
        "ReferenceNotGranted",
        "Fix the field that the message names, or ask an administrator of the cluster to add its subscription to `referencedSubscriptions` of the grant.",
    ),
    code(
        "ClusterCredentialsOff",
        "Use an AzureCredential of the namespace: with `--watch-namespace` the controller does not use ClusterAzureCredentials.",
    ),
    code("CredentialInvalid", "Fix the AzureCredential."),
    code(
        "CredentialUnreadable",
        "Upgrade the controller: the AzureCredential was written for a newer version.",
    ),
    code(
        "SecretNotFound",
        "Create the Secret with the key; the controller reads it again within five minutes. The controller's log says which of the two is missing.",
    ),
    code(
        "SecretForbidden",
        "Bind the ClusterRole `serverprotection-secret-reader` to the controller in the namespace, as `deploy/samples/2-secret.yaml` does.",
    ),
    code(
        "TlsSecretNotFound",
        "Create the Secret with type `kubernetes.io/tls`, the certificate in `tls.crt` and its private key in `tls.key`. The controller's log says what is missing.",
    ),
    code(
        "ClientCertificateUnreadable",
        "Store the certificate and its RSA private key in PEM format in the Secret.",
    ),
    code(
        "ClientKeyEncrypted",
        "Store the private key without a passphrase.",
    ),
    code(
        "ClientKeyNotRsa",
        "Issue a certificate with an RSA key of 2048 bits or more: Entra accepts no other.",
    ),
    code(
        "ClientKeyMismatch",
        "Store the certificate of this private key, as the first one in `tls.crt`.",
    ),
    code(
        "ClientCertificateExpired",
        "Renew the certificate in the Secret, and register the new one with the application.",
    ),
    code(
        "ClientCertificateNotYetValid",
        "Wait until the certificate is valid, or synchronize the clock of the controller's node.",
    ),
    code(
        "ManagedIdentityNotAssigned",
        "Assign the managed identity to the machines (or the app) of the controller, or fix `clientId`.",
    ),
    code(
        "ServiceAccountNotFound",
        "Create the ServiceAccount, or fix `workloadIdentity.serviceAccountName` of the AzureCredential.",
    ),
    code(
        "ServiceAccountNotGranted",
        "Bind the ClusterRole `serverprotection-identity-user` to the ServiceAccount in its namespace, as `deploy/samples/workload-identity` does.",
    ),
    code(
        "TokensNotRestricted",
        "Install the admission policy of `deploy/base/token_policy.yaml`: without it the controller requests no tokens.",
    ),
    code(
        "ServiceAccountForbidden",
        "Let the controller create `serviceaccounts/token` of the ServiceAccount.",
    ),
    code(
        "ServiceAccountTokenRefused",
        "The API server refused the token request; the message contains its error. Fix the AzureCredential, for example name a ServiceAccount to which no role with all verbs is bound.",
    ),
    code(
        "InsufficientClaims",
        "Exclude the application from the Conditional Access policy, or allow the controller's address in it.",
    ),
    code(
        "TokenUnavailable",
        "Fix the AzureCredential; the message contains the cause.",
    ),
    code(
        "InvalidAuthenticationTokenTenant",
        "Fix `tenantId` of the AzureCredential: the subscription belongs to another tenant.",
    ),
    code(
        "SubscriptionNotFound",
        "Fix `subscriptionId`, or give the identity access.",
    ),
    code(
        "AuthorizationFailed",
        "Grant a role with the action that `PermissionsSufficient` names.",
    ),
    code(
        "DenyAssignmentAuthorizationFailed",
        "Remove the deny assignment that the message names, or exclude the identity. A role does not help.",
    ),
    code("ReadOnlyDisabledSubscription", "Enable the subscription."),
    code(
        "ScopeLocked",
        "Remove the read-only lock (for a deletion, also the delete lock).",
    ),
    code(
        "RequestDisallowedByPolicy",
        "Exempt the subscription from the policy that the message names.",
    ),
    code(
        "ResourceNotFound",
        "Check that the resource exists and that the identity may read it.",
    ),
    code(
        "ResourceGroupNotFound",
        "Create the resource group, or set `createResourceGroup`.",
    ),
    code("InvalidResourceId", "Fix the name that the message contains."),
    code(
        "UnknownPlan",
        "Azure has a plan that this version does not know. Upgrade the controller.",
    ),
    code(
        "ConnectorRefused",
        "Azure refused the connector; the message contains its error. Change the spec.",
    ),
];

/// Codes of errors that the controller retries by itself. They are in messages; those about a
/// certificate are also reasons of an `AzureCredential` and of `CredentialReady`.
pub const TRANSIENT_CODES: &[CodeEntry] = &[
    code(
        "UnrecognizedResponse",
        "A proxy, a firewall or a sign-in page answered instead of Azure. Allow the requests in the network.",
    ),
    code(
        "CertificateNotTrusted",
        "Set `--extra-ca` to a file with the certificate authority that the message names, if you trust it.",
    ),
    code(
        "CertificateInvalid",
        "The certificate has expired or is for another host. Check the endpoints, the proxy and the clock.",
    ),
    code(
        "IdentityEndpointUnreachable",
        "Nothing answers where the managed identity gets its tokens. Run the controller on Azure machines with a managed identity, and allow its requests to 169.254.169.254.",
    ),
    code(
        "EntraUnreachable",
        "Entra did not respond. Check the network if it persists.",
    ),
    code(
        "ConnectionFailed",
        "Azure did not respond. Check the network if it persists.",
    ),
    code("Timeout", "Azure did not respond in time."),
    code(
        "UnreadableAnswer",
        "Azure returned a response without a required part. Report it if it persists.",
    ),
    code(
        "UnexpectedAnswer",
        "The pages of a list lead to another host, repeat themselves, stay empty or never end. Report it if it persists.",
    ),
    code(
        "ResponseTooLarge",
        "A response is larger than the operator reads (1 MB for a resource or a short list, 4 MB for a page of another list, 8 MB for rows) and was not read. Report it if it persists.",
    ),
    code(
        "ServiceAccountTokenUnavailable",
        "The API server issued no token of the ServiceAccount now.",
    ),
    code(
        "ManagementGroupsUnreadable",
        "The grant of a ClusterAzureCredential names management groups, and those of the subscription cannot be read. Check that the identity has the role Reader on the subscription.",
    ),
    code(
        "SecretUnreadable",
        "The API server did not return the Secret now.",
    ),
];
