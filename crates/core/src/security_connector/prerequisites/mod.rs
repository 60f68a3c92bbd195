//! What the cloud account must have for exactly one connector, as plain values: nothing is read and nothing is
//! created.
//!
//! The names come from the rows of [`Desired`], so that they equal the names that the connector sends to Azure. The
//! facts are Microsoft's (docs/azure-api.md 4.5, 4.6); the lists of permissions are the least that the documented
//! purpose needs.

pub mod aws;
pub mod gcp;
mod policies;

#[cfg(test)]
mod tests;

use serverprotection_api::{SecurityConnectorSpec, State, Tier};

use super::{
    desired::{Desired, Protection},
    expected::Expected,
};

/// Microsoft's own Entra tenant issues the tokens with which Defender for Cloud signs in (docs/azure-api.md 4.5).
pub const ISSUER: &str = "https://sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/";

/// The audience of the plan's own tokens, in both clouds.
const SERVERS_AUDIENCE: &str = "api://AzureSecurityCenter.MultiCloud.DefenderForServers";

/// What the cloud account must have.
#[derive(Clone, Debug, PartialEq)]
pub struct Prerequisites {
    /// Name of the object.
    pub connector: String,
    /// The customer's Entra tenant: a GUID in lower case.
    pub tenant: String,
    /// The plan of the servers.
    pub tier: Tier,
    /// Which parts of the plan the account has to serve.
    pub parts: Parts,
    /// The account or project.
    pub account: Account,
}

/// The account or project.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Account {
    Aws(aws::Aws),
    Gcp(gcp::Gcp),
}

/// Whether the account has to serve a part of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The connector switches it on.
    Yes,
    /// Unmanaged: it may be on in Azure.
    Perhaps,
    /// The connector switches it off, or its plan does not have it.
    No,
}

impl Need {
    /// Whether the account has to be prepared for this part.
    pub fn is_served(self) -> bool {
        self != Self::No
    }
}

/// The parts of the plan that need something in the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Defender for Servers itself: not with the plan Free.
    pub servers: Need,
    /// Installation of the Azure Arc agent.
    pub arc: Need,
    /// Agentless scanning.
    pub agentless: Need,
}

impl Parts {
    fn of(spec: &SecurityConnectorSpec, tier: Tier) -> Self {
        let scanning = spec.agentless_scanning.as_ref();
        let (servers, arc) = match tier {
            Tier::Free => (Need::No, Need::No),
            Tier::P1 | Tier::P2 => (Need::Yes, need(spec.auto_provisioning.arc_agent.state)),
        };
        Self {
            servers,
            arc,
            // A connector whose spec does not mention scanning does not need it.
            agentless: match (tier, scanning) {
                (Tier::P2, Some(scanning)) => need(scanning.state),
                _ => Need::No,
            },
        }
    }
}

const fn need(state: State) -> Need {
    match state {
        State::Enabled => Need::Yes,
        State::Unmanaged => Need::Perhaps,
        State::Disabled => Need::No,
    }
}

/// A field for which no prerequisites can be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// Path in the spec.
    pub field: String,
    /// The problem and what to do, without the field.
    pub message: String,
}

impl Invalid {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl Prerequisites {
    /// Computes the prerequisites. `object` is the name of the object, `tenant` the customer's Entra tenant. The spec
    /// must have passed admission.
    ///
    /// # Errors
    ///
    /// Fails for what admission does not check: a role or service account of another account, names that the cloud
    /// refuses, or agentless scanning with a plan other than P2.
    pub fn of(
        object: &str,
        spec: &SecurityConnectorSpec,
        protection: &Protection,
        tenant: &str,
    ) -> Result<Self, Invalid> {
        let desired = Desired::of(object, &supposed(spec), protection);
        if desired.agentless_needs_p2 && asks_for_scanning(spec) {
            return Err(Invalid::new(
                "agentlessScanning",
                "needs plan P2, but the connector has another plan; set plan.tier to P2, or agentlessScanning.state to Disabled",
            ));
        }
        let parts = Parts::of(spec, desired.tier);
        let account = match (&spec.aws, &spec.gcp) {
            (Some(aws), None) => Account::Aws(aws::Aws::of(aws, &desired, parts)?),
            (None, Some(gcp)) => Account::Gcp(gcp::Gcp::of(gcp, &desired, parts, tenant)?),
            _ => return Err(Invalid::new("type", "exactly one of aws and gcp must be set")),
        };
        Ok(Self {
            connector: object.into(),
            tenant: tenant.to_ascii_lowercase(),
            tier: desired.tier,
            parts,
            account,
        })
    }
}

fn asks_for_scanning(spec: &SecurityConnectorSpec) -> bool {
    let scanning = spec.agentless_scanning.as_ref();
    scanning.is_some_and(|scanning| scanning.state == State::Enabled)
}

/// The spec with every Unmanaged part switched on, so that the rows include the role of that part.
fn supposed(spec: &SecurityConnectorSpec) -> SecurityConnectorSpec {
    let mut spec = spec.clone();
    let scanning = spec
        .agentless_scanning
        .as_mut()
        .map(|scanning| &mut scanning.state);
    for state in [Some(&mut spec.auto_provisioning.arc_agent.state), scanning] {
        if let Some(state) = state
            && *state == State::Unmanaged
        {
            *state = State::Enabled;
        }
    }
    spec
}

/// The value at a path of the spec, such as the ARN at `aws.roleArns.servers`. The rows of a spec that passed
/// admission contain it.
fn named<'a>(desired: &'a Desired, path: &str) -> Result<&'a str, Invalid> {
    let mut rows = desired.fields.iter();
    let text = rows.find_map(|row| match &row.value {
        Expected::Text(text) | Expected::Word(text) if row.field.path() == path => Some(text.as_str()),
        _ => None,
    });
    text.ok_or_else(|| Invalid::new(path, "is missing"))
}
