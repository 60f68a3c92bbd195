//! Ownership of an account: one connector for each account, one object for each connector (I-3).

use serverprotection_api::Cloud;

use super::desired::Target;

/// How the account belongs to an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// It is a single account.
    #[default]
    Single,
    /// It is the management account or project.
    Organization,
    /// The service created the connector for a member.
    Member {
        /// Azure's `parentHierarchyId`.
        parent: Option<String>,
        /// Azure's `managementProjectNumber`.
        management: Option<String>,
    },
}

/// A connector as it appears in the list of all connectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedConnector {
    /// Resource id.
    pub id: String,
    /// The cloud, if it is AWS or GCP.
    pub cloud: Option<Cloud>,
    /// Azure's `hierarchyIdentifier`.
    pub account: String,
    /// How the account belongs to an organization.
    pub membership: Membership,
}

/// Why this object may not connect the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another connector connects it.
    Elsewhere {
        /// Its resource id.
        id: String,
    },
    /// The service created a connector for it, because its organization is connected.
    ManagedByOrganization {
        /// The organization's or management account's id.
        parent: String,
        /// Resource id of the member's connector.
        id: String,
    },
}

/// The conflict that prevents this object from connecting the account.
pub fn conflict(target: &Target, all: &[ListedConnector]) -> Option<Conflict> {
    let same =
        |known: &&ListedConnector| known.cloud == Some(target.cloud) && known.account == target.account;
    let member = |known: &ListedConnector| match &known.membership {
        Membership::Member { parent, management } => Some(Conflict::ManagedByOrganization {
            parent: parent.clone().or_else(|| management.clone()).unwrap_or_default(),
            id: known.id.clone(),
        }),
        _ => None,
    };
    // An organization that manages the account explains more than another connector.
    let by_organization = all.iter().filter(same).find_map(member);
    by_organization.or_else(|| {
        let elsewhere = all.iter().filter(same).find(|known| !target.is(&known.id));
        elsewhere.map(|known| Conflict::Elsewhere { id: known.id.clone() })
    })
}

/// The accounts for which the service created connectors as members of this organization. GCP names the management
/// project, AWS the management account.
pub fn member_accounts(target: &Target, all: &[ListedConnector]) -> Vec<String> {
    let ours = |known: &&ListedConnector| match &known.membership {
        Membership::Member { parent, management } => {
            let account = Some(&target.account);
            known.cloud == Some(target.cloud)
                && (parent.as_ref() == account || management.as_ref() == account)
        }
        _ => false,
    };
    all.iter()
        .filter(ours)
        .map(|known| known.account.clone())
        .collect()
}

/// What an object claims: its connector, and the account. It must hold both claims; two objects with different names
/// for one account would otherwise both create a connector.
pub fn claims(target: &Target) -> [String; 2] {
    [
        target.id().to_lowercase(),
        account_key(target.cloud, &target.account),
    ]
}

/// The key of the account's claim.
pub fn account_key(cloud: Cloud, account: &str) -> String {
    let cloud = match cloud {
        Cloud::AWS => "AWS",
        Cloud::GCP => "GCP",
    };
    format!("{cloud}/{account}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Claim, ClaimIndex, Claimant};

    fn target(name: &str, account: &str) -> Target {
        Target {
            subscription: "s".into(),
            resource_group: "RG".into(),
            name: name.into(),
            cloud: Cloud::AWS,
            account: account.into(),
        }
    }

    /// Whether the second of two objects may manage its connector.
    fn second(first: &Target, second: &Target) -> bool {
        let mut index = ClaimIndex::default();
        let mut holds = |uid: &str, target: &Target| {
            claims(target).into_iter().all(|key| {
                let claimant = Claimant {
                    namespace: "ns".into(),
                    name: uid.into(),
                    uid: uid.into(),
                    subscription: key,
                    created: None,
                    held: false,
                };
                index.claim(&claimant) == Claim::Held
            })
        };
        assert!(holds("first", first));
        holds("second", second)
    }

    #[test]
    fn one_object_for_each_connector_and_for_each_account() {
        assert!(second(&target("a", "1"), &target("b", "2")));
        assert!(!second(&target("a", "1"), &target("A", "2")), "the same id");
        assert!(!second(&target("a", "1"), &target("b", "1")), "the same account");
    }

    #[test]
    fn the_organization_explains_more_than_the_other_connector() {
        let known = |id: &str, membership| ListedConnector {
            id: id.into(),
            cloud: Some(Cloud::AWS),
            account: "1".into(),
            membership,
        };
        let member = Membership::Member {
            parent: Some("2".into()),
            management: None,
        };
        let single = known("/x", Membership::Single);
        let all = [single.clone(), known("/y", member)];
        let found = conflict(&target("a", "1"), &all);
        assert!(matches!(found, Some(Conflict::ManagedByOrganization { .. })));
        let elsewhere = conflict(&target("a", "1"), std::slice::from_ref(&single));
        assert_eq!(elsewhere, Some(Conflict::Elsewhere { id: "/x".into() }));
        // The same number in another cloud, or the object's own connector, is no conflict.
        let other = ListedConnector {
            cloud: Some(Cloud::GCP),
            ..single
        };
        let own = known(&target("A", "1").id().to_uppercase(), Membership::Organization);
        assert_eq!(conflict(&target("a", "1"), &[other, own]), None);
    }
}
