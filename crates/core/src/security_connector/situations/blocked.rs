//! What blocks an object: reductions, other owners, and specs that Azure cannot fulfill.

use serde_json::json;
use serverprotection_api::{State, Tier};

use crate::{
    claims::{Ownership, Verdict},
    security_connector::{
        account::{ListedConnector, Membership},
        decide::{MachineCounts, Observation, Outcome, Situation, WithoutSubscription},
        desired::Protection,
        samples::{Object, aws, gcp, protection, put, shapes},
        status::with_machines,
    },
};

fn known(object: &Object, id: &str, membership: Membership) -> ListedConnector {
    let target = object.desired().target;
    ListedConnector {
        id: id.into(),
        cloud: Some(target.cloud),
        account: target.account,
        membership,
    }
}

fn member(parent: &str) -> Membership {
    Membership::Member {
        parent: Some(parent.into()),
        management: None,
    }
}

#[test]
fn lowering_protection_at_adoption_needs_approval() {
    let mut object = Object::in_sync(aws(json!({})));
    let current = object.connector.clone();
    for (over, reports) in [
        (json!({"plan": {"tier": "P1"}}), "plan.tier=P1"),
        (json!({"plan": {"tier": "Free"}}), "plan.tier=Free"),
        (
            json!({"autoProvisioning": {"arcAgent": {"state": "Disabled"}}}),
            "autoProvisioning.arcAgent.state=Disabled",
        ),
        (
            json!({"aws": {"regions": ["eu-central-1", "us-east-1"]}}),
            "aws.regions=eu-central-1 us-east-1",
        ),
    ] {
        object = Object::new(aws(over));
        object.connector.clone_from(&current);
        let decision = object.observe();
        assert!(put(&decision).is_none());
        object
            .expect("False", "ReductionNeedsApproval", reports)
            .secondary("Stalled");
        assert!(!object.status.drift.is_empty());
        object.approval = Some("yes".into());
        object.observe();
        object.expect(
            "False",
            "ReductionNeedsApproval",
            "is \"yes\", which does not approve this.",
        );
        object.approval = Some(reports.into());
        object.write();
        object.observe();
        object.expect("True", "InSync", "");
    }
    // After an adoption, the same reduction as an edit needs no approval.
    object.edit(|spec| spec.auto_provisioning.defender_for_endpoint.state = State::Disabled);
    assert!(put(&object.write()).is_some());
}

#[test]
fn a_working_identity_is_replaced_only_by_one_that_the_spec_names() {
    let custom = json!({"aws": {"roleArns": {"cspm": "arn:aws:iam::123456789012:role/custom"}}});
    let current = Object::in_sync(aws(custom)).connector;
    let mut object = Object::new(aws(json!({})));
    object.connector.clone_from(&current);
    object.observe();
    object.expect(
        "False",
        "ReductionNeedsApproval",
        "aws.roleArns.cspm=arn:aws:iam::",
    );
    let named = json!({"aws": {"roleArns": {"cspm": "arn:aws:iam::123456789012:role/other"}}});
    let mut object = Object::new(aws(named));
    object.connector = current;
    assert_eq!(object.observe().situation, Situation::Writing);
}

#[test]
fn leaving_an_organization_needs_approval_at_adoption() {
    let [_, (_, organization), _, (_, gcp_organization)] = shapes();
    for (spec, alone) in [(organization, aws(json!({}))), (gcp_organization, gcp(json!({})))] {
        let current = Object::in_sync(spec).connector;
        let mut object = Object::new(alone);
        object.connector = current;
        object.observe();
        object.expect("False", "ReductionNeedsApproval", ".organization=Disabled");
        object.approval = Some("1".into());
        object.write();
        object.observe();
        object.expect("True", "InSync", "");
        assert_eq!(object.connector.unwrap().membership, Membership::Single);
    }
}

#[test]
fn what_another_object_owns_is_reported_and_not_changed() {
    for (shape, spec) in shapes() {
        let mut object = Object::new(spec);
        object.others = vec![known(&object, "/subscriptions/other/x", Membership::Single)];
        object.observe();
        object
            .expect("False", "AccountConnectedElsewhere", "/subscriptions/other/x")
            .secondary("Stalled");
        object.others = vec![known(&object, "/subscriptions/other/m", member("o-1"))];
        object.observe();
        object.expect("False", "ManagedByOrganization", "organization o-1");
        object.others = Vec::new();
        object.claim = Verdict::waits(Some("other"));
        assert!(object.observe().changes.is_empty());
        object.expect(
            "False",
            "ClaimConflicted",
            "other of this namespace owns the connector",
        );
        object.reason("Claimed", "False", "HeldByAnother");
        assert_eq!(object.status.claim.as_ref().unwrap().state, "Waiting");
        object.claim = Verdict::holds();
        // Its own connector in the list is no conflict, in any spelling of the id.
        let id = object.desired().target.id().to_lowercase();
        object.others = vec![known(&object, &id, Membership::Single)];
        assert_eq!(object.write().situation, Situation::Writing, "{shape}");
    }
}

/// What was observed before is not shown as if it were the case now, also after a scan.
#[test]
fn columns_show_nothing_healthy_while_the_connector_is_not_observed() {
    let healthy = || {
        let mut object = Object::in_sync(aws(json!({})));
        object.machines = Some(MachineCounts {
            total: 3,
            eligible: 2,
            protected: 2,
        });
        object.observe();
        object
    };
    let columns = |object: &Object| {
        let display = object.status.display.clone().unwrap();
        (display.tier, display.health, display.machines)
    };
    let text = |text: &str| Some(text.to_owned());
    let shown = (text("P2"), text("Healthy"), text("2/2"));
    let hidden = (text("P2"), None, None);
    let mut object = healthy();
    assert_eq!(columns(&object), shown);

    object.others = vec![known(&object, "/subscriptions/other/x", Membership::Single)];
    object.connector = None;
    object.observe();
    object.expect("False", "AccountConnectedElsewhere", "");
    assert_eq!(columns(&object), hidden);
    let machines = MachineCounts {
        total: 3,
        eligible: 3,
        protected: 3,
    };
    object.status = with_machines(&object.status, machines, object.now);
    assert_eq!(columns(&object), hidden, "a scan");

    let mut object = healthy();
    object.protection = None;
    object.observe();
    object.expect("False", "ProtectionNotFound", "");
    assert_eq!(columns(&object), hidden);

    let mut object = healthy();
    let why = WithoutSubscription::Undecided;
    object.reconcile(Observation::AwaitingProtection(&why), |_| Outcome::default());
    assert_eq!(columns(&object), hidden);
    object.observe();
    assert_eq!(columns(&object), shown);
    object.spec.suspend = true;
    object.reconcile(Observation::Suspended, |_| Outcome::default());
    assert_eq!(columns(&object), shown, "as last read");

    // Never written: the tier of the spec, else that of the ServerProtection.
    for (spec, tier) in [(json!({"plan": {"tier": "P1"}}), "P1"), (json!({}), "P2")] {
        let mut object = Object::new(aws(spec));
        object.reconcile(Observation::AwaitingProtection(&why), |_| Outcome::default());
        assert_eq!(columns(&object), (text(tier), None, None));
    }
}

#[test]
fn one_creation_for_each_account_at_a_time() {
    let mut object = Object::new(aws(json!({})));
    object.account_busy = true;
    assert!(object.observe().changes.is_empty());
    object
        .expect(
            "False",
            "Progressing",
            "Another object is creating a connector for account",
        )
        .secondary("Reconciling");
    assert!(object.wait < std::time::Duration::from_secs(10));
    object.account_busy = false;
    object.write();
    // A connector that exists is written whatever other objects create.
    object.account_busy = true;
    object.edit(|spec| spec.auto_provisioning.defender_for_endpoint.state = State::Disabled);
    assert!(put(&object.write()).is_some());
}

#[test]
fn a_connector_waits_for_its_protection_and_for_its_own_proof() {
    let mut object = Object::new(aws(json!({})));
    object.claim = Verdict::contends(Ownership::AccessNotProven);
    object.reconcile(
        Observation::AwaitingProtection(&WithoutSubscription::Undecided),
        |_| Outcome::default(),
    );
    object
        .expect(
            "False",
            "Progressing",
            "ServerProtection contoso-prod does not own",
        )
        .secondary("Reconciling")
        .reason("Claimed", "Unknown", "AccessNotProven");
    // The reason of the ServerProtection, and what its user can do.
    object.claim = Verdict::contends(Ownership::AwaitingProtection);
    for (why, says) in [
        (
            WithoutSubscription::Stalled("MissingPermission".into()),
            "because it is Stalled (MissingPermission); until it does, the connector is neither read nor written. Read",
        ),
        (
            WithoutSubscription::Suspended,
            "because it is suspended; until it does",
        ),
    ] {
        object.reconcile(Observation::AwaitingProtection(&why), |_| Outcome::default());
        object
            .expect("False", "Progressing", says)
            .secondary("Reconciling")
            .reason("Claimed", "Unknown", "AwaitingProtection");
        let claimed = object.condition("Claimed").2;
        assert!(!claimed.contains("denied"), "{claimed}");
    }
    object.claim = Verdict::contends(Ownership::AccessDenied("MissingPermission".into()));
    assert!(object.observe().changes.is_empty());
    object
        .expect("False", "MissingPermission", "securityConnectors/write")
        .secondary("Stalled");
}

#[test]
fn a_connector_that_the_service_made_for_a_member_is_refused() {
    let mut object = Object::in_sync(aws(json!({})));
    object.edit_in_azure(|connector| connector.membership = member("1"));
    assert!(object.observe().changes.is_empty());
    object.expect("False", "ManagedByOrganization", "organization 1");
}

#[test]
fn members_are_counted() {
    let [_, (_, organization), _, (_, gcp_organization)] = shapes();
    for spec in [organization, gcp_organization] {
        let mut object = Object::in_sync(spec);
        let target = object.desired().target;
        let of = |account: &str| ListedConnector {
            id: format!("/m/{account}"),
            cloud: Some(target.cloud),
            account: account.into(),
            membership: Membership::Member {
                parent: Some("org".into()),
                management: Some(target.account.clone()),
            },
        };
        let mut stranger = of("3");
        stranger.membership = member("other");
        object.others = vec![of("1"), of("2"), stranger];
        object.observe();
        object.expect("True", "InSync", "");
        assert_eq!(object.status.members, Some(2));
    }
}

#[test]
fn specs_that_azure_cannot_fulfill_are_blocked_with_the_next_step() {
    let mut object = Object::in_sync(aws(json!({})));
    object.edit_in_azure(|connector| connector.account = "210987654321".into());
    object.observe();
    object.expect("False", "NameTaken", "connects AWS 210987654321");

    let mut object = Object::in_sync(aws(json!({})));
    object.edit_in_azure(|connector| connector.location = Some("centralus".into()));
    object.observe();
    object.expect("False", "LocationDiffers", "centralus");
    object.edit(|spec| spec.location = "Central US".into());
    object.observe();
    object.expect("True", "InSync", "");

    let mut object = Object::new(gcp(json!({"agentlessScanning": {"state": "Enabled"}})));
    object.protection = Some(protection(Tier::P1));
    object.observe();
    object.expect("False", "AgentlessScanningNeedsP2", "plan.tier");

    let mut object = Object::in_sync(aws(json!({})));
    object.protection = None;
    object.observe();
    object.expect("False", "ProtectionNotFound", "contoso-prod");
    assert!(object.status.target.is_some(), "a deletion still needs it");
    object.protection = Some(Protection {
        subscription: "6f1c0d7e-0000-4000-8000-000000000002".into(),
        ..protection(Tier::P2)
    });
    object.connector = None;
    object.observe();
    object.expect("False", "TargetChanged", "0001/resourceGroups/rg-defender");
    assert!(object.status.target.as_ref().unwrap().id.contains("000000000001"));

    let mut object = Object::new(aws(json!({})));
    object.reconcile(Observation::NotAvailable("AzureUSGovernment"), |_| {
        Outcome::default()
    });
    object
        .expect("False", "NotAvailableInCloud", "AzureUSGovernment")
        .secondary("Stalled");
}
