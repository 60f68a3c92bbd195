use serde_json::json;
use serverprotection_api::{Mode, Tier};

use super::*;
use crate::{
    Timestamp,
    azure_error::ErrorClass,
    claims::{ClaimIndex, Names, Ownership, Rules, Seen, State, Verdict},
    reading::Permissions,
    security_connector::{
        decide::{Observation, Outcome, Situation, WithoutSubscription},
        samples::{Object, aws, failure, protection},
    },
};

const OWN: &str = "6f1c0d7e-0000-4000-8000-00000000000a";
const FOREIGN: &str = "6f1c0d7e-0000-4000-8000-00000000000b";

fn of_subscription(subscription: &str) -> Protection {
    Protection {
        subscription: subscription.into(),
        ..protection(Tier::P2)
    }
}

fn target(subscription: &str) -> ConnectorTarget {
    ConnectorTarget {
        id: Target::of("aws-prod", &aws(json!({})), subscription).id(),
        subscription_id: subscription.into(),
        credential: None,
        mode: "Enforce".into(),
    }
}

fn claim(state: &str) -> ClaimStatus {
    ClaimStatus {
        state: state.into(),
        uid: Some("u".into()),
        ..ClaimStatus::default()
    }
}

fn read(connector: Result<(), &str>) -> Observed {
    Observed {
        connector: Some(
            connector
                .map(|()| None)
                .map_err(|code| failure(ErrorClass::Permission(None), code, "GET")),
        ),
        permissions: Some(Ok(Permissions {
            grants: vec![(vec!["*".into()], Vec::new())],
        })),
        ..Observed::nothing()
    }
}

/// What the identity reads in a subscription: everything in its own, nothing in another one.
fn reads(subscription: &str) -> Observed {
    read((subscription == OWN).then_some(()).ok_or("AuthorizationFailed"))
}

/// Decides about the object alone, as a reconcile does.
fn decided(subject: &Subject<'_>, read: Option<&Observed>) -> (Option<String>, Verdict) {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let mut index = ClaimIndex::new(Rules::default());
    index.retain(|_| true, now);
    // Without a ServerProtection, a connector is blocked.
    let wants = subject.present().map_or(Stage::Blocked, |_| Stage::Enforces);
    let stage = subject.stage(wants);
    let key = subject.key();
    if let Some(key) = &key {
        let names = Names {
            namespace: "team-a".into(),
            name: "aws-prod".into(),
        };
        let seen = Seen {
            names,
            uid: "u",
            created: None,
            key: key.clone(),
            stage,
            claim: subject.claim(),
        };
        index.observe(seen, now);
    }
    let evidence = subject.evidence(stage, read);
    let verdict = index.decide("u", stage, None, Some(evidence), now);
    (key, verdict.unwrap_or_else(Verdict::none))
}

#[test]
fn evidence_of_one_connector_never_proves_another() {
    let spec = aws(json!({}));
    for recorded in [None, Some(OWN), Some(FOREIGN)] {
        for present in [None, Some(OWN), Some(FOREIGN)] {
            for state in [None, Some("Waiting"), Some("Held")] {
                let status = SecurityConnectorStatus {
                    target: recorded.map(target),
                    claim: state.map(claim),
                    ..SecurityConnectorStatus::default()
                };
                let protection = present.map(of_subscription);
                let subject = Subject::of("aws-prod", &spec, protection.as_ref(), &status);
                let read = present.map(reads);
                let (key, verdict) = decided(&subject, read.as_ref());
                let case = format!("recorded {recorded:?}, present {present:?}, {state:?}: {verdict:?}");
                assert_eq!(
                    subject.has_moved(),
                    recorded.is_some() && present.is_some() && recorded != present,
                    "{case}"
                );
                let of_own = key.as_ref().is_some_and(|key| key.contains(OWN));
                let proven = of_own && present == Some(OWN);
                assert_eq!(verdict.proven, proven, "{case}");
                assert_eq!(
                    verdict.may_write(),
                    proven || held(recorded, state, present),
                    "{case}"
                );
                // Without a proof, an object keeps only what it held before.
                let kept = recorded.is_some() && state == Some("Held");
                assert_eq!(verdict.state == State::Held, proven || kept, "{case}");
                assert_ne!(verdict.state, State::Waiting, "{case}");
            }
        }
    }
}

/// A holder whose read is denied still owns what it recorded, until the claim lapses.
fn held(recorded: Option<&str>, state: Option<&str>, present: Option<&str>) -> bool {
    recorded.is_some() && recorded == present && state == Some("Held")
}

#[test]
fn an_object_that_leads_elsewhere_takes_nothing_and_says_why() {
    let spec = aws(json!({}));
    let status = SecurityConnectorStatus {
        target: Some(target(FOREIGN)),
        ..SecurityConnectorStatus::default()
    };
    let own = of_subscription(OWN);
    let subject = Subject::of("aws-prod", &spec, Some(&own), &status);
    let (_, verdict) = decided(&subject, Some(&reads(OWN)));
    assert_eq!(verdict.state, State::None);
    assert_eq!(verdict.ownership, Ownership::AccessDenied("TargetChanged".into()));
    // Suspended and observing objects are decided about as before.
    for stage in [
        Stage::Suspended,
        Stage::Observes,
        Stage::Deleting { working: true },
    ] {
        assert_eq!(subject.stage(stage), stage);
    }
}

#[test]
fn a_target_is_recorded_only_after_its_connector_was_read() {
    for mode in [Mode::Enforce, Mode::Observe] {
        let mut object = Object::new(aws(json!({})));
        object.protection.as_mut().unwrap().mode = mode;
        object.claim = Verdict::contends(Ownership::AccessNotProven);
        let denied = read(Err("AuthorizationFailed"));
        object.reconcile(Observation::Azure(&denied), |_| Outcome::default());
        assert_eq!(object.status.target, None, "{mode:?}");
        object.reconcile(
            Observation::AwaitingProtection(&WithoutSubscription::Undecided),
            |_| Outcome::default(),
        );
        object.reconcile(Observation::Suspended, |_| Outcome::default());
        assert_eq!(object.status.target, None, "{mode:?}");
        // Without a target, another ServerProtection may lead elsewhere.
        object.protection = Some(Protection {
            mode,
            ..of_subscription(OWN)
        });
        object.observe();
        assert!(object.status.target.as_ref().unwrap().id.contains(OWN));
        let without_credential = Observed::without_credential(failure(ErrorClass::Credential, "AADSTS1", ""));
        object.reconcile(Observation::Azure(&without_credential), |_| Outcome::default());
        assert!(object.status.target.is_some(), "it stays");
    }
}

#[test]
fn a_recorded_target_is_never_replaced_by_another_one() {
    let mut object = Object::in_sync(aws(json!({})));
    let recorded = object.status.target.clone();
    object.protection = Some(of_subscription(FOREIGN));
    let denied = read(Err("AuthorizationFailed"));
    for observation in [
        Observation::AwaitingProtection(&WithoutSubscription::Undecided),
        Observation::Suspended,
        Observation::NotAvailable("AzureUSGovernment"),
        Observation::Azure(&denied),
    ] {
        object.reconcile(observation, |_| Outcome::default());
        assert_eq!(object.status.target, recorded, "{observation:?}");
    }
    let decision = object.observe();
    assert!(matches!(decision.situation, Situation::Blocked(_)));
    assert!(object.status.claim.is_some(), "a deletion still needs it");
    object.expect("False", "TargetChanged", "");
    assert_eq!(object.status.target, recorded);
}
