//! Results of reads from Azure that both kinds use.

use crate::azure_error::AzureError;

/// The result of one read: a value or a classified error.
pub type ReadResult<T> = Result<T, AzureError>;

/// What an identity may do on the subscription: the actions of its role definitions, with the excluded actions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Pairs of (actions, notActions), one for each assignment.
    pub grants: Vec<(Vec<String>, Vec<String>)>,
}

impl Permissions {
    /// Whether one of the grants allows the action; patterns hold `*` and compare without case.
    pub fn allow(&self, action: &str) -> bool {
        self.grants.iter().any(|(actions, exceptions)| {
            actions.iter().any(|pattern| matches(pattern, action))
                && !exceptions.iter().any(|pattern| matches(pattern, action))
        })
    }
}

fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let Some((first, others)) = pattern.split_once('*') else {
        return pattern == action;
    };
    let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
    let Some(mut rest) = action
        .strip_prefix(first)
        .and_then(|rest| rest.strip_suffix(last))
    else {
        return false;
    };
    for part in middle.split('*') {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_match_wildcards_and_exceptions() {
        let owner = Permissions {
            grants: vec![(vec!["*".into()], vec![])],
        };
        let contributor = Permissions {
            grants: vec![(vec!["*".into()], vec!["Microsoft.Authorization/*/Write".into()])],
        };
        let security_admin = Permissions {
            grants: vec![(vec!["Microsoft.Security/*".into()], vec![])],
        };
        let reader = Permissions {
            grants: vec![(vec!["*/read".into()], vec![])],
        };
        let assign = "Microsoft.Authorization/roleAssignments/write";
        let write = "Microsoft.Security/pricings/write";
        assert!(owner.allow(assign) && owner.allow(write));
        assert!(!contributor.allow(assign) && contributor.allow(write));
        assert!(!security_admin.allow(assign) && security_admin.allow(write));
        assert!(!reader.allow(write) && reader.allow("Microsoft.Security/pricings/read"));
        for (pattern, action, allowed) in [
            ("*/read", "Microsoft.Security/readers/read", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("a/b", "A/B", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/", true),
        ] {
            assert_eq!(matches(pattern, action), allowed, "{pattern} {action}");
        }
    }
}
