//! Requests in the words of users: `PUT pricings/VirtualMachines` is "write the plan".

/// What a request does, as an infinitive.
const WORDS: &[(&str, &str)] = &[
    ("POST token", "get a token from Entra"),
    ("GET token", "get a token of the managed identity"),
    ("az account get-access-token", "get a token from the Azure CLI"),
    ("GET pricings/VirtualMachines", "read the plan"),
    ("PUT pricings/VirtualMachines", "write the plan"),
    ("GET settings", "read the settings of Defender for Endpoint"),
    ("PUT settings/WDATP", "write the setting WDATP"),
    (
        "PUT settings/WDATP_UNIFIED_SOLUTION",
        "write the setting WDATP_UNIFIED_SOLUTION",
    ),
    (
        "PUT settings/WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
        "write the setting WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
    ),
    (
        "GET serverVulnerabilityAssessmentsSettings",
        "read the vulnerability assessment setting",
    ),
    (
        "PUT serverVulnerabilityAssessmentsSettings",
        "select the vulnerability assessment provider",
    ),
    (
        "DELETE serverVulnerabilityAssessmentsSettings",
        "remove the vulnerability assessment provider",
    ),
    (
        "GET providers/Microsoft.Security",
        "read the registration of Microsoft.Security",
    ),
    (
        "POST providers/Microsoft.Security/register",
        "register Microsoft.Security",
    ),
    ("GET subscription", "read the subscription"),
    ("GET subscriptions", "list the subscriptions"),
    (
        "GET managementGroups/descendants",
        "list the subscriptions of the management group",
    ),
    ("GET permissions", "read the permissions of the identity"),
    ("GET solutions/Security", "read the solution of the workspace"),
    ("GET resourceGroups", "read the resource group"),
    ("PUT resourceGroups", "create the resource group"),
    ("GET securityConnectors", "read the connector"),
    ("PUT securityConnectors", "write the connector"),
    ("DELETE securityConnectors", "delete the connector"),
    ("GET healthReports", "read the health reports"),
    ("GET machines", "read the machine"),
    ("GET virtualMachines", "read the virtual machine"),
    ("POST resources (machines)", "list the machines"),
    ("POST resources (plans)", "list the plans of the machines"),
    ("POST resources (connectors)", "list the connectors"),
    (
        "POST resources (management groups)",
        "read the management groups of subscriptions",
    ),
];

/// What a request does, as an infinitive. A request without words of its own is named by its method and resource.
pub(crate) fn described(operation: &str) -> String {
    if let Some((_, words)) = WORDS.iter().find(|(known, _)| *known == operation) {
        return (*words).to_owned();
    }
    let (method, resource) = operation.split_once(' ').unwrap_or(("", operation));
    let verb = match method {
        "GET" => "read",
        "PUT" => "write",
        "DELETE" => "delete",
        _ => return format!("send {operation}"),
    };
    format!("{verb} {resource}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_described_without_their_method() {
        assert_eq!(described("PUT pricings/VirtualMachines"), "write the plan");
        assert_eq!(described("GET pricings"), "read pricings");
        assert_eq!(described("POST x"), "send POST x");
        assert_eq!(described("PUT"), "send PUT");
        for (operation, words) in WORDS {
            let verb = words.split_once(' ').unwrap().0;
            assert!(
                verb.chars().all(|letter| letter.is_ascii_lowercase()),
                "{operation}"
            );
        }
    }
}
