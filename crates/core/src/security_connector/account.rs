//! Whose account it is: one connector for each account, one object for each connector (law 3).

use serverprotection_api::Cloud;

use super::{
    desired::{Target, environment_name},
    observed::{Connector, Membership},
};

/// A connector as the list of all of them tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Resource id.
    pub id: String,
    /// The cloud, where it is one of ours.
    pub cloud: Option<Cloud>,
    /// Azure's `hierarchyIdentifier`.
    pub account: String,
    /// How the account belongs to an organization.
    pub membership: Membership,
}

impl From<&Connector> for Known {
    fn from(connector: &Connector) -> Self {
        Self {
            id: connector.id().into(),
            cloud: connector.cloud(),
            account: connector.account(),
            membership: connector.membership(),
        }
    }
}

/// Why the account is not ours to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another connector connects it.
    Elsewhere {
        /// Its resource id.
        id: String,
    },
    /// The service made a connector for it, because its organization is connected.
    ManagedByOrganization {
        /// The organization's or management account's id.
        parent: String,
        /// Resource id of the member's connector.
        id: String,
    },
}

/// What stands in the way of connecting the account.
pub fn conflict(target: &Target, all: &[Known]) -> Option<Conflict> {
    let same = |known: &&Known| known.cloud == Some(target.cloud) && known.account == target.account;
    let member = |known: &Known| match &known.membership {
        Membership::Member { parent, management } => Some(Conflict::ManagedByOrganization {
            parent: parent.clone().or_else(|| management.clone()).unwrap_or_default(),
            id: known.id.clone(),
        }),
        _ => None,
    };
    // That an organization manages the account explains more than that somebody else does.
    let by_organization = all.iter().filter(same).find_map(member);
    by_organization.or_else(|| {
        let elsewhere = all.iter().filter(same).find(|known| !target.is(&known.id));
        elsewhere.map(|known| Conflict::Elsewhere { id: known.id.clone() })
    })
}

/// How many connectors the service made for the members of this organization. GCP names the management project, AWS the
/// management account.
pub fn members(target: &Target, all: &[Known]) -> usize {
    let ours = |known: &&Known| match &known.membership {
        Membership::Member { parent, management } => {
            let account = Some(&target.account);
            known.cloud == Some(target.cloud)
                && (parent.as_ref() == account || management.as_ref() == account)
        }
        _ => false,
    };
    all.iter().filter(ours).count()
}

/// What an object claims: its connector, and the account. It must hold both claims; two objects with different names
/// for one account would otherwise both create a connector.
pub fn claims(target: &Target) -> [String; 2] {
    let account = format!("{}/{}", environment_name(target.cloud), target.account);
    [target.id().to_lowercase(), account]
}
