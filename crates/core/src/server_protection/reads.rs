//! What a reconcile reads (I-4): three responses always; one more, in turn, if nothing changed; otherwise everything.

use serverprotection_api::{ServerProtectionSpec, ServerProtectionStatus};

use super::history::ReconcileHistory;
use crate::conditions::{self, ConditionType};

/// What to read besides plan, settings and assessment, which every reconcile reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The subscription itself.
    pub subscription: bool,
    /// Registration of Microsoft.Security; rarely read, because a plan that can be read proves it.
    pub registration: bool,
    /// What the identity may do.
    pub permissions: bool,
    /// Workspaces, by resource id.
    pub workspaces: Vec<String>,
}

/// Chooses by what the last reconcile stored.
pub fn reads(
    spec: &ServerProtectionSpec,
    generation: i64,
    previous: &ServerProtectionStatus,
    history: &ReconcileHistory,
    requested: bool,
) -> Reads {
    let known = previous.observed_generation == Some(generation);
    let ready = known && conditions::is_true(&previous.conditions, ConditionType::Ready);
    let workspaces = || {
        spec.workspaces
            .iter()
            .map(|workspace| workspace.resource_id.clone())
    };
    // The reconcile that wrote had already read everything for the same spec. A registration is an exception, because
    // it takes minutes.
    if history.reconciles > 0 && history.verifying && known {
        return Reads {
            registration: !conditions::is_true(&previous.conditions, ConditionType::ProviderRegistered),
            ..Reads::default()
        };
    }
    if history.reconciles == 0 || !ready || requested {
        return Reads {
            subscription: true,
            registration: true,
            permissions: true,
            workspaces: workspaces().collect(),
        };
    }
    let mut turn: Vec<Reads> = vec![
        Reads {
            subscription: true,
            ..Reads::default()
        },
        Reads {
            permissions: true,
            ..Reads::default()
        },
    ];
    turn.extend(workspaces().map(|id| Reads {
        workspaces: vec![id],
        ..Reads::default()
    }));
    let at = usize::try_from(history.reconciles).unwrap_or_default() % turn.len();
    turn.swap_remove(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_before_the_read_back_reads_everything() {
        let (spec, status, history) = reading_back("True");
        assert_eq!(reads(&spec, 1, &status, &history, false), Reads::default());
        let edited = reads(&spec, 2, &status, &history, false);
        assert!(edited.permissions && edited.subscription && edited.registration);
    }

    #[test]
    fn reading_back_a_registration_reads_the_registration() {
        let (spec, status, history) = reading_back("False");
        let expected = Reads {
            registration: true,
            ..Reads::default()
        };
        assert_eq!(reads(&spec, 1, &status, &history, false), expected);
    }

    /// After a write of generation 1, with this status of `ProviderRegistered`.
    fn reading_back(registered: &str) -> (ServerProtectionSpec, ServerProtectionStatus, ReconcileHistory) {
        let spec = serde_json::from_value(json!(
            {"subscriptionId": "00000000-0000-0000-0000-000000000001", "plan": {"tier": "P2"}}
        ));
        let status = serde_json::from_value(json!({"observedGeneration": 1, "conditions": [{
            "type": "ProviderRegistered", "status": registered, "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}));
        let history = ReconcileHistory {
            reconciles: 1,
            verifying: true,
            ..ReconcileHistory::default()
        };
        (spec.unwrap(), status.unwrap(), history)
    }
}
