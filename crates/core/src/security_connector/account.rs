//! One connector for each account (I-3).

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

/// The account, for the creations in the cluster: one for each account at a time (R2 of docs/claims.md).
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

    fn target(name: &str, account: &str) -> Target {
        Target {
            subscription: "s".into(),
            resource_group: "RG".into(),
            name: name.into(),
            cloud: Cloud::AWS,
            account: account.into(),
        }
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
