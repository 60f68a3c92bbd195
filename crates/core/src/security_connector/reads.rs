//! What a reconcile reads (I-4): the connector always; the rest about once an hour, and while it is not known to be
//! good.

use std::time::Duration;

use serverprotection_api::{SecurityConnectorSpec, SecurityConnectorStatus};

use super::{arc_providers, desired::is_organization, health::Health, history::ReconcileHistory};
use crate::conditions::{self, ConditionType, Reason};

/// The largest number of reconciles without changes in which everything is read once: an hour at the default interval.
const LONGEST_ROUND: u64 = 6;

/// What to read besides the connector, which every reconcile reads. If there is no connector, the resource group and
/// the other connectors are read regardless of this choice, because `decide` needs both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one read, asked for or not")]
pub struct Reads {
    /// Whether the resource group exists.
    pub resource_group: bool,
    /// All connectors that the identity can see: others that connect the account, and the members of an organization.
    pub others: bool,
    /// The connector's health reports.
    pub health: bool,
    /// What the identity may do.
    pub permissions: bool,
    /// Whether the resource providers of Azure Arc are registered.
    pub arc_providers: bool,
    /// A user requested this reconcile: results of other objects' recent reads must not be reused.
    pub fresh: bool,
}

/// Chooses by what the last reconcile stored. `requested`: a user requested this reconcile. `interval`: the time
/// between two reconciles.
pub fn reads(
    spec: &SecurityConnectorSpec,
    generation: i64,
    previous: &SecurityConnectorStatus,
    history: &ReconcileHistory,
    requested: bool,
    interval: Duration,
) -> Reads {
    let known = history.reconciles > 0 && !requested && previous.observed_generation == Some(generation);
    if known && history.verifying {
        // The reconcile that wrote had read everything; this one reads back. If that write created the connector, its
        // health could not be read before.
        return Reads {
            health: Health::Unknown.is_in(previous),
            ..Reads::default()
        };
    }
    // Without a connector there are no health reports.
    let absent = known && history.absent;
    let is_true = |type_| conditions::is_true(&previous.conditions, type_);
    let quiet = known && is_true(ConditionType::Ready);
    let round = (3600 / interval.as_secs().max(1)).clamp(1, LONGEST_ROUND);
    let turn = |at: u64| history.reconciles % round == at % round;
    let healthy = Health::Healthy.is_in(previous);
    let counted = previous.members.is_some() || !is_organization(spec);
    Reads {
        resource_group: absent,
        others: !quiet || !counted || turn(0),
        health: !absent && (!quiet || !healthy || turn(2)),
        permissions: !quiet || !is_true(ConditionType::PermissionsSufficient) || turn(4),
        arc_providers: arc_providers::are_needed(spec)
            && (!known || arc_providers_are_due(previous, history, interval, turn(1))),
        fresh: requested,
    }
}

/// Registrations stay, so they are read once a day; hourly while one is missing, and each time while one is underway.
fn arc_providers_are_due(
    previous: &SecurityConnectorStatus,
    history: &ReconcileHistory,
    interval: Duration,
    hourly: bool,
) -> bool {
    const TYPE: ConditionType = ConditionType::ProviderRegistered;
    let day = (86_400 / interval.as_secs().max(1)).max(1);
    let has = |reason| conditions::has_reason(&previous.conditions, TYPE, reason);
    if has(Reason::Registered) {
        return history.reconciles.is_multiple_of(day);
    }
    let settled = has(Reason::NotRegistered) || has(Reason::MissingPermission) || has(Reason::NotReadable);
    !settled || hourly
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serverprotection_api::Mode;

    use super::*;
    use crate::{
        azure_error::ErrorClass,
        security_connector::{
            account::ListedConnector,
            arc_providers::ArcProvider,
            decide::{Observation, Outcome},
            expected::ObservedValue,
            field::ConnectorField,
            observed::Observed,
            samples::{Object, aws, failure, report, shapes},
        },
        server_protection::observed::RegistrationState,
    };

    const INTERVAL: Duration = Duration::from_secs(600);

    fn next(object: &Object) -> Reads {
        asked(object, false)
    }

    fn asked(object: &Object, requested: bool) -> Reads {
        reads(
            &object.spec,
            object.generation,
            &object.status,
            &object.history,
            requested,
            INTERVAL,
        )
    }

    /// A reconcile that observes only what it reads.
    fn observe_with_reads(object: &mut Object) {
        let reads = next(object);
        let all = object.observed();
        let observed = Observed {
            resource_group: all.resource_group.filter(|_| reads.resource_group),
            others: all.others.filter(|_| reads.others),
            health: all.health.filter(|_| reads.health),
            permissions: all.permissions.filter(|_| reads.permissions),
            arc_providers: all.arc_providers.filter(|_| reads.arc_providers),
            ..all
        };
        object.reconcile(Observation::Azure(&observed), |_| Outcome::default());
    }

    const ALL_OF_AN_EXISTING_ONE: Reads = Reads {
        resource_group: false,
        others: true,
        health: true,
        permissions: true,
        arc_providers: false,
        fresh: false,
    };
    /// As at first, and after an edit.
    const EVERYTHING: Reads = Reads {
        arc_providers: true,
        ..ALL_OF_AN_EXISTING_ONE
    };

    /// An object that is in sync and healthy, at the beginning of a round.
    fn quiet(spec: SecurityConnectorSpec) -> Object {
        let mut object = Object::in_sync(spec);
        object.health = vec![report("Healthy")];
        object.observe();
        object.expect("True", "InSync", "");
        object.history.reconciles = LONGEST_ROUND + 1;
        object
    }

    #[test]
    fn an_unchanged_reconcile_reads_only_the_connector_and_a_round_reads_everything_once() {
        for (shape, spec) in shapes() {
            let mut object = quiet(spec);
            let mut round = Vec::new();
            for _ in 0..LONGEST_ROUND {
                round.push(next(&object));
                observe_with_reads(&mut object);
                object
                    .expect("True", "InSync", "")
                    .reason("Healthy", "True", "Connected");
            }
            let count = |of: fn(&Reads) -> bool| round.iter().filter(|reads| of(reads)).count();
            assert_eq!(count(|reads| reads.others), 1, "{shape}");
            assert_eq!(count(|reads| reads.health), 1, "{shape}");
            assert_eq!(count(|reads| reads.permissions), 1, "{shape}");
            assert_eq!(count(|reads| reads.resource_group), 0, "{shape}");
            assert_eq!(count(|reads| *reads == Reads::default()), 3, "{shape}");
        }
    }

    #[test]
    fn an_interval_of_an_hour_or_more_reads_everything_each_time() {
        let object = quiet(aws(json!({})));
        for hours in [1, 24] {
            let interval = Duration::from_secs(hours * 3600);
            let (status, history) = (&object.status, &object.history);
            let reads = reads(&object.spec, object.generation, status, history, false, interval);
            let arc_providers = hours == 24;
            assert_eq!(
                reads,
                Reads {
                    arc_providers,
                    ..ALL_OF_AN_EXISTING_ONE
                }
            );
        }
    }

    #[test]
    fn the_first_reconcile_an_edit_and_reconcile_now_read_everything() {
        let mut object = quiet(aws(json!({})));
        assert_eq!(next(&object), Reads::default());
        let fresh = Reads {
            fresh: true,
            ..EVERYTHING
        };
        assert_eq!(asked(&object, true), fresh);
        object.history = ReconcileHistory::default();
        assert_eq!(next(&object), EVERYTHING);
        let mut object = quiet(aws(json!({})));
        object.edit(|spec| spec.scan_interval = "12h".into());
        assert_eq!(next(&object), EVERYTHING);
    }

    #[test]
    fn unhealthy_or_unknown_state_is_read_on_every_reconcile() {
        let mut object = quiet(aws(json!({})));
        object.status.health = Some("NotHealthy".into());
        let health = Reads {
            health: true,
            ..Reads::default()
        };
        assert_eq!(next(&object), health);
        let mut object = quiet(aws(json!({})));
        let mut conditions = object.status.conditions.iter_mut();
        let permissions = conditions.find(|condition| condition.type_ == "PermissionsSufficient");
        permissions.unwrap().status = "False".into();
        let permissions = Reads {
            permissions: true,
            ..Reads::default()
        };
        assert_eq!(next(&object), permissions);
    }

    #[test]
    fn registrations_are_read_daily_and_more_often_while_one_is_missing() {
        let due = |object: &Object, reconciles: u64| {
            let mut object = object.history.clone();
            object.reconciles = reconciles;
            object
        };
        let read = |object: &mut Object| {
            let all = (1..=288).filter(|at| {
                let history = due(object, *at);
                let (spec, status) = (&object.spec, &object.status);
                reads(spec, object.generation, status, &history, false, INTERVAL).arc_providers
            });
            all.count()
        };
        let mut object = quiet(aws(json!({})));
        object.reason("ProviderRegistered", "True", "Registered");
        assert_eq!(read(&mut object), 2, "in two days");
        let missing = |state: RegistrationState| {
            let mut object = quiet(aws(json!({})));
            object.protection.as_mut().unwrap().registers = false;
            object
                .arc_providers
                .insert(ArcProvider::GuestConfiguration, state);
            object.observe();
            object
        };
        let mut object = missing(RegistrationState::NotRegistered);
        object.reason("ProviderRegistered", "False", "NotRegistered");
        assert_eq!(read(&mut object), 48, "hourly");
        let mut object = missing(RegistrationState::Registering);
        assert_eq!(read(&mut object), 288, "each time");
        let mut object = quiet(aws(
            json!({"autoProvisioning": {"arcAgent": {"state": "Disabled"}}}),
        ));
        object.reason("ProviderRegistered", "True", "NotNeeded");
        assert_eq!(read(&mut object), 0);
    }

    #[test]
    fn members_are_counted_for_organizations_only() {
        for (shape, spec) in shapes() {
            let mut object = quiet(spec);
            object.status.members = None;
            assert_eq!(next(&object).others, shape.ends_with("organization"), "{shape}");
        }
    }

    #[test]
    fn an_object_that_creates_its_connector_reads_what_creating_needs_and_then_back() {
        let mut object = Object::new(aws(json!({})));
        object.group = false;
        object.observe();
        object.expect("False", "ResourceGroupMissing", "");
        let creating = Reads {
            resource_group: true,
            health: false,
            ..ALL_OF_AN_EXISTING_ONE
        };
        assert_eq!(next(&object), creating);
        object.group = true;
        object.write();
        let back = Reads {
            health: true,
            ..Reads::default()
        };
        assert_eq!(next(&object), back);
        object.observe();
        object.expect("True", "InSync", "");
    }

    #[test]
    fn another_connector_of_the_account_is_searched_for_until_it_is_gone() {
        let mut object = quiet(aws(json!({})));
        object.others.push(ListedConnector {
            id: "/theirs".into(),
            ..ListedConnector::from(object.connector.as_ref().unwrap())
        });
        object.history.reconciles = LONGEST_ROUND;
        for _ in 0..=LONGEST_ROUND {
            observe_with_reads(&mut object);
            object.expect("False", "AccountConnectedElsewhere", "/theirs");
        }
        object.others.clear();
        observe_with_reads(&mut object);
        object.expect("True", "InSync", "");
    }

    #[test]
    fn after_a_failed_write_and_in_mode_observe_it_is_the_same() {
        let mut object = quiet(aws(json!({})));
        object.set_in_azure(ConnectorField::ScanInterval, ObservedValue::Hours(12));
        object.fail(failure(
            ErrorClass::Transient,
            "GatewayTimeout",
            "PUT securityConnectors",
        ));
        assert_eq!(next(&object), ALL_OF_AN_EXISTING_ONE);
        let mut object = quiet(aws(json!({})));
        object.protection.as_mut().unwrap().mode = Mode::Observe;
        object.observe();
        object.history.reconciles = LONGEST_ROUND + 1;
        assert_eq!(next(&object), Reads::default());
    }
}
