//! Which field needs which right (docs/azure-api.md 8.7).

use serde_json::json;
use serverprotection_api::Tier;

use super::{Object, extension, observed, protected};
use crate::{
    permissions::ASSIGN_ROLES,
    reading::Permissions,
    server_protection::{
        changes::Actual,
        decide::{Outcome, PlanResponse, Situation},
        field::ExtensionName,
        observed::{Observed, OperationStatus},
    },
};

fn as_security_admin(actual: &Actual) -> Observed {
    Observed {
        permissions: Some(Ok(Permissions {
            grants: vec![(vec!["Microsoft.Security/*".into()], Vec::new())],
        })),
        ..observed(actual)
    }
}

fn object(plan: serde_json::Value) -> Object {
    let mut object = Object::of(Tier::P2);
    object.spec.plan = serde_json::from_value(plan).unwrap();
    object
}

#[test]
fn each_field_names_its_own_right() {
    let scanning = json!({"state": "Enabled"});
    let monitoring = json!({"state": "Enabled", "workspaceId": "/w"});
    let both = format!("{ASSIGN_ROLES} (for plan.agentlessScanning and plan.directOnboarding)");
    let one = |field: &str| format!("{ASSIGN_ROLES} (for {field})");
    let workspace = "plan.fileIntegrityMonitoring needs Workspace Owner on its workspace";
    let entra = "plan.directOnboarding needs the Entra role Security Administrator";
    for (plan, missing, elsewhere) in [
        (json!({"tier": "P2"}), None, vec![]),
        (
            json!({"tier": "P2", "agentlessScanning": scanning}),
            Some(one("plan.agentlessScanning")),
            vec![],
        ),
        (
            json!({"tier": "P2", "directOnboarding": scanning}),
            Some(one("plan.directOnboarding")),
            vec![entra],
        ),
        (
            json!({"tier": "P2", "fileIntegrityMonitoring": monitoring}),
            None,
            vec![workspace],
        ),
        (
            json!({"tier": "P2", "agentlessScanning": scanning, "directOnboarding": scanning,
                "fileIntegrityMonitoring": monitoring}),
            Some(both),
            vec![workspace, entra],
        ),
    ] {
        let mut object = object(plan);
        object.write(&as_security_admin(&protected()));
        let (status, reason) = match missing {
            Some(_) => ("False", "MissingPermission"),
            None => ("True", "Sufficient"),
        };
        object.reason("PermissionsSufficient", status, reason);
        let (.., message) = object.condition("PermissionsSufficient");
        for part in missing
            .iter()
            .map(String::as_str)
            .chain(elsewhere.iter().copied())
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(
            message.contains("Not visible"),
            !elsewhere.is_empty(),
            "{message}"
        );
        assert_eq!(message.contains("such as Owner"), missing.is_some(), "{message}");
        let actions = &object.status.missing_actions;
        assert_eq!(
            actions.iter().filter(|action| *action == ASSIGN_ROLES).count(),
            usize::from(missing.is_some())
        );
    }
}

/// The right to assign roles does not explain why file integrity monitoring failed, so it is tried again.
#[test]
fn a_failed_extension_is_explained_by_its_own_right_only() {
    for (name, plan, explained) in [
        (
            ExtensionName::AgentlessScanning,
            json!({"tier": "P2", "agentlessScanning": {"state": "Enabled"}}),
            true,
        ),
        (
            ExtensionName::FileIntegrityMonitoring,
            json!({"tier": "P2", "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": "/w"}}),
            false,
        ),
    ] {
        let mut object = object(plan);
        let observed = as_security_admin(&protected());
        let mut after = protected();
        let monitored = extension(name.clone(), true);
        after.plan.extensions = vec![monitored];
        object.reconcile(
            crate::server_protection::decide::Observation::Azure(&observed),
            |decision| Outcome {
                done: decision.changes.clone(),
                response: Some(PlanResponse {
                    plan: after.plan.clone(),
                    results: vec![OperationStatus {
                        extension: name.clone(),
                        code: "Failed".into(),
                        message: "no right".into(),
                    }],
                }),
                failed: None,
            },
        );
        let mut off = protected();
        off.plan.extensions = vec![extension(name.clone(), false)];
        let decision = object.write(&as_security_admin(&off));
        let Situation::ExtensionFailed { missing_action } = decision.situation else {
            panic!("{name:?}: {decision:#?}");
        };
        assert_eq!(missing_action.is_some(), explained, "{name:?}");
    }
}
