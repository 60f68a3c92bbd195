//! What a reconcile reads (I-4): three responses always; one more, in turn, if nothing changed; otherwise everything
//! that a decision needs.

use serverprotection_api::{ServerProtectionSpec, ServerProtectionStatus};

use super::{
    field::{ExtensionName, ProtectionField},
    history::ReconcileHistory,
};
use crate::conditions::{self, ConditionType};

/// What to read besides plan, settings and assessment, which every reconcile reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one read, asked for or not")]
pub struct Reads {
    /// The subscription itself.
    pub subscription: bool,
    /// Registration of Microsoft.Security; rarely read, because a plan that can be read proves it.
    pub registration: bool,
    /// What the identity may do.
    pub permissions: bool,
    /// All plans of the subscription, as one list. It explains and decides nothing.
    pub other_plans: bool,
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
            other_plans: requested || other_plans_are_needed(previous),
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
        Reads {
            other_plans: true,
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

/// Whether the other plans are unknown, so that the first status has them, or may be what keeps agentless scanning on.
fn other_plans_are_needed(previous: &ServerProtectionStatus) -> bool {
    let registered = conditions::get(&previous.conditions, ConditionType::ProviderRegistered);
    let unregistered = registered.is_some_and(|registered| registered.status == "False");
    let field = ProtectionField::ExtensionState(ExtensionName::AgentlessScanning).to_string();
    let mut contested = previous.contested.iter();
    (previous.other_plans.is_none() && !unregistered)
        || contested.any(|entry| entry.field == field && entry.suppressed_until_time.is_some())
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
    fn the_other_plans_are_read_at_first_on_request_in_turn_and_while_scanning_is_contested() {
        let (spec, mut status, mut history) = reading_back("True");
        history.verifying = false;
        let read = |status: &ServerProtectionStatus, history: &ReconcileHistory, requested: bool| {
            reads(&spec, 1, status, history, requested).other_plans
        };
        assert!(read(&status, &history, false), "unknown");
        status.other_plans = Some(serverprotection_api::OtherPlansStatus::default());
        assert!(
            !read(&status, &history, false),
            "known, and the object is not Ready"
        );
        assert!(read(&status, &history, true));
        let entry = |until: Option<&str>| {
            let entry = json!([{"field": "plan.agentlessScanning.state", "desired": "Disabled", "observed": "Enabled",
                "repairs": 3, "firstRepairTime": "2026-01-01T00:00:00Z", "lastRepairTime": "2026-01-01T00:00:00Z",
                "suppressedUntilTime": until}]);
            serde_json::from_value(entry).unwrap()
        };
        status.contested = entry(None);
        assert!(!read(&status, &history, false));
        status.contested = entry(Some("2026-01-01T01:00:00Z"));
        assert!(read(&status, &history, false));
        status.contested.clear();
        status.conditions[0].type_ = "Ready".into();
        let turns: Vec<_> = (1..=6)
            .map(|reconciles| {
                history.reconciles = reconciles;
                read(&status, &history, false)
            })
            .collect();
        assert_eq!(
            turns.iter().filter(|read| **read).count(),
            2,
            "each third: {turns:?}"
        );
        let (_, unregistered, _) = reading_back("False");
        history.reconciles = 1;
        assert!(
            !read(&unregistered, &history, false),
            "while the registration is missing"
        );
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
