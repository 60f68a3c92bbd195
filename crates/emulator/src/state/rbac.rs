//! Role-based access control: matches actions against the patterns of roles.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The action that lets an extension assign roles.
pub const ASSIGN_ROLES: &str = "Microsoft.Authorization/roleAssignments/write";

/// A role on a subscription: built-in by name, or custom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RoleAssignment {
    /// `Owner`, `Contributor`, `Security Admin`, ...
    Named(String),
    /// A custom role.
    #[serde(rename_all = "camelCase")]
    Custom {
        /// Action patterns with `*`.
        actions: Vec<String>,
        /// Action patterns that are excluded.
        #[serde(default)]
        not_actions: Vec<String>,
    },
}

struct Role {
    name: &'static str,
    actions: &'static [&'static str],
    not_actions: &'static [&'static str],
}

/// The built-in roles that tests use. Security Admin and User Access Administrator may read the subscription itself,
/// because any role assignment allows that in effect.
const ROLES: &[Role] = &[
    Role {
        name: "Owner",
        actions: &["*"],
        not_actions: &[],
    },
    Role {
        name: "Contributor",
        actions: &["*"],
        not_actions: &[
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ],
    },
    Role {
        name: "Reader",
        actions: &["*/read"],
        not_actions: &[],
    },
    Role {
        name: "Security Admin",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Authorization/policyAssignments/*",
            "Microsoft.Authorization/policyDefinitions/*",
            "Microsoft.Management/managementGroups/read",
            "Microsoft.OperationalInsights/workspaces/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Security/*",
        ],
        not_actions: &[],
    },
    Role {
        name: "Security Reader",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Management/managementGroups/read",
            "Microsoft.OperationalInsights/workspaces/*/read",
            "Microsoft.Resources/deployments/*/read",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Security/*/read",
        ],
        not_actions: &[],
    },
    Role {
        name: "Virtual Machine Contributor",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Compute/locations/*",
            "Microsoft.Compute/virtualMachines/*",
            "Microsoft.Compute/virtualMachineScaleSets/*",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
    },
    Role {
        name: "Azure Connected Machine Resource Administrator",
        actions: &[
            "Microsoft.HybridCompute/*/read",
            "Microsoft.HybridCompute/machines/read",
            "Microsoft.HybridCompute/machines/write",
            "Microsoft.HybridCompute/machines/delete",
            "Microsoft.HybridCompute/machines/extensions/*",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
    },
    Role {
        name: "User Access Administrator",
        actions: &["*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"],
        not_actions: &[],
    },
];

fn patterns(assignment: &RoleAssignment) -> (Vec<&str>, Vec<&str>) {
    match assignment {
        RoleAssignment::Named(name) => ROLES
            .iter()
            .find(|role| role.name.eq_ignore_ascii_case(name))
            .map_or_else(
                || (Vec::new(), Vec::new()),
                |role| (role.actions.to_vec(), role.not_actions.to_vec()),
            ),
        RoleAssignment::Custom { actions, not_actions } => (
            actions.iter().map(String::as_str).collect(),
            not_actions.iter().map(String::as_str).collect(),
        ),
    }
}

/// Checks that a role name is known.
///
/// # Errors
///
/// Returns a message with the known names if there is no built-in role of this name.
pub fn check(assignment: &RoleAssignment) -> Result<(), String> {
    match assignment {
        RoleAssignment::Named(name) if !ROLES.iter().any(|role| role.name.eq_ignore_ascii_case(name)) => {
            let known: Vec<_> = ROLES.iter().map(|role| role.name).collect();
            Err(format!(
                "unknown role '{name}'; known roles: {}, or {{actions: […]}}",
                known.join(", ")
            ))
        }
        _ => Ok(()),
    }
}

/// Whether one assignment grants an action.
pub fn grants(assignment: &RoleAssignment, action: &str) -> bool {
    let (actions, not_actions) = patterns(assignment);
    actions.iter().any(|pattern| matches(pattern, action))
        && !not_actions.iter().any(|pattern| matches(pattern, action))
}

/// One item of the permissions list.
pub fn permission(assignment: &RoleAssignment) -> Value {
    let (actions, not_actions) = patterns(assignment);
    json!({"actions": actions, "notActions": not_actions, "dataActions": [], "notDataActions": []})
}

/// Case-insensitive match; `*` matches any text, including slashes.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| action.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> RoleAssignment {
        RoleAssignment::Named(name.into())
    }

    #[test]
    fn a_star_matches_any_text() {
        assert!(matches("*", "Microsoft.Security/pricings/write"));
        assert!(matches("*/read", "microsoft.security/pricings/read"));
        assert!(!matches("*/read", "Microsoft.Security/pricings/write"));
        assert!(matches(
            "Microsoft.Security/*",
            "Microsoft.Security/register/action"
        ));
        assert!(matches(
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/roleAssignments/write"
        ));
        assert!(!matches(
            "Microsoft.Security/pricings",
            "Microsoft.Security/pricings/read"
        ));
    }

    #[test]
    fn built_in_roles_grant_their_actions() {
        assert!(grants(&named("owner"), ASSIGN_ROLES));
        assert!(!grants(&named("Contributor"), ASSIGN_ROLES));
        assert!(grants(&named("Contributor"), "Microsoft.Security/pricings/write"));
        assert!(grants(
            &named("Security Admin"),
            "Microsoft.Security/pricings/write"
        ));
        assert!(!grants(&named("Security Admin"), ASSIGN_ROLES));
        assert!(!grants(
            &named("Security Reader"),
            "Microsoft.Security/pricings/write"
        ));
        assert!(grants(&named("User Access Administrator"), ASSIGN_ROLES));
        assert!(check(&named("Emperor")).is_err());
    }
}
