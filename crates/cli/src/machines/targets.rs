//! Resolves a scope to the subscriptions to scan: their names, management groups, and all visible subscriptions.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use serverprotection_azure::{Client, Subscription, fleet::Target};
use serverprotection_core::{azure_error::AzureError, jiff::SignedDuration, machines::Exclusions};

use super::{
    args::{self, Args},
    identity::{Auth, Origin, hint},
    scope::Scope,
};

/// Attempts of a request that fails with a transient error.
const ATTEMPTS: u32 = 3;

/// The subscriptions of a scope.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) targets: Vec<Target>,
    /// `spec.machines.minimumProtectedPercent` of the subscriptions with an object.
    pub(crate) minimums: HashMap<String, u8>,
    /// Display names.
    pub(crate) names: HashMap<String, String>,
    /// Why the identity can read nothing, and the next step.
    pub(crate) failure: Option<(AzureError, String)>,
}

/// Lists the subscriptions that the identity can see. Also if all targets are given: this reads their names, and checks
/// the identity before anything is printed.
pub(crate) async fn resolve(args: &Args, scope: &Scope, client: &Client) -> Resolved {
    let mut resolved = of_objects(args, scope);
    // azure_identity itself retries for more than a minute for a managed identity.
    let attempts = match scope.origin {
        Origin::Auth(Auth::ManagedIdentity) => 1,
        _ => ATTEMPTS,
    };
    let response = async {
        let visible = retried(attempts, || client.subscriptions()).await?;
        let mut below = Vec::new();
        for group in &scope.management_groups {
            below.extend(retried(ATTEMPTS, || client.management_group(group)).await?);
        }
        Ok((visible, below))
    };
    match response.await {
        Ok((visible, below)) => add(&mut resolved, args, scope, visible, &below),
        Err(failure) => {
            let hint = hint(&scope.origin, &failure);
            resolved.failure = Some((failure, hint));
        }
    }
    resolved
}

fn of_objects(args: &Args, scope: &Scope) -> Resolved {
    let mut resolved = Resolved::default();
    for protection in &scope.protections {
        let machines = &protection.machines;
        let of_object = args::grace(&machines.grace_period).ok();
        let target = Target {
            exclusions: Arc::new(Exclusions::of(machines)),
            grace: args.grace_period.or(of_object).unwrap_or(A_DAY),
            ..target(args, &protection.subscription)
        };
        let minimum = u8::try_from(machines.minimum_protected_percent).unwrap_or(100);
        resolved.minimums.insert(protection.subscription.clone(), minimum);
        resolved.targets.push(target);
    }
    let flags = scope.subscriptions.iter().map(|id| target(args, id));
    resolved.targets.extend(flags);
    resolved
}

const A_DAY: SignedDuration = SignedDuration::from_hours(24);

fn target(args: &Args, subscription: &str) -> Target {
    Target {
        object: String::new(),
        subscription: subscription.to_owned(),
        exclusions: Arc::default(),
        grace: args.grace_period.unwrap_or(A_DAY),
        plan_enabled: None,
        fresh: true,
        unprotected: Arc::default(),
        had_machines: false,
    }
}

fn add(resolved: &mut Resolved, args: &Args, scope: &Scope, visible: Vec<Subscription>, below: &[String]) {
    resolved.targets.extend(below.iter().map(|id| target(args, id)));
    for subscription in visible {
        // A deleted subscription has no machines, but stays visible for 90 days.
        if scope.all && !subscription.state.eq_ignore_ascii_case("Deleted") {
            resolved.targets.push(target(args, &subscription.id));
        }
        resolved.names.insert(subscription.id, subscription.name);
    }
}

/// Retries transient errors. The client makes one request per call and leaves retries to its caller.
async fn retried<T, F>(attempts: u32, request: impl Fn() -> F) -> Result<T, AzureError>
where
    F: Future<Output = Result<T, AzureError>>,
{
    let mut wait = Duration::from_secs(1);
    for _ in 1..attempts {
        match request().await {
            Err(failure) if failure.class.is_transient() => {
                // The client refuses requests before the time of Retry-After.
                let delay = failure.class.retry_after().unwrap_or_default().max(wait);
                tokio::time::sleep(delay.min(Duration::from_secs(60))).await;
                wait *= 2;
            }
            answer => return answer,
        }
    }
    request().await
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serverprotection_api::Machines;
    use serverprotection_azure::Identity;
    use serverprotection_core::azure_error::ErrorClass;

    use super::{super::input::Protection, *};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn subscription(id: &str, state: &str) -> Subscription {
        Subscription {
            id: id.into(),
            name: format!("name of {id}"),
            state: state.into(),
        }
    }

    fn resolved(words: &str, objects: &[&str], all: bool) -> Resolved {
        let args = Command::parse_from(std::iter::once("machines").chain(words.split_whitespace())).args;
        let scope = Scope {
            origin: Origin::Auth(Auth::AzureCli),
            identity: Identity::AzureCli { tenant_id: None },
            protections: objects
                .iter()
                .map(|id| Protection {
                    subscription: (*id).into(),
                    machines: Machines {
                        grace_period: "2h".into(),
                        minimum_protected_percent: 90,
                        ..Machines::default()
                    },
                    credential: None,
                })
                .collect(),
            subscriptions: args.subscriptions.clone(),
            management_groups: Vec::new(),
            all,
        };
        let mut resolved = of_objects(&args, &scope);
        let visible = vec![subscription("a", "Enabled"), subscription("b", "Deleted")];
        add(&mut resolved, &args, &scope, visible, &["c".to_owned()]);
        resolved
    }

    fn ids(resolved: &Resolved) -> Vec<&str> {
        let targets = resolved.targets.iter();
        targets.map(|target| target.subscription.as_str()).collect()
    }

    #[test]
    fn objects_come_first_with_their_own_settings() {
        let found = resolved("", &["o"], false);
        assert_eq!(ids(&found), ["o", "c"]);
        assert_eq!(found.targets[0].grace, SignedDuration::from_hours(2));
        assert_eq!(found.targets[1].grace, A_DAY);
        assert_eq!(found.minimums["o"], 90);
        assert_eq!(found.names["a"], "name of a");
        // A flag overrides the object.
        let found = resolved("--grace-period 5m", &["o"], false);
        assert_eq!(found.targets[0].grace, SignedDuration::from_mins(5));
    }

    #[test]
    fn all_subscriptions_are_read_except_deleted_ones() {
        assert_eq!(ids(&resolved("", &[], true)), ["c", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn transient_errors_are_retried() {
        for (class, failures, attempts, succeeds) in [
            (ErrorClass::Transient, 2, 3, true),
            (ErrorClass::Throttled(Some(Duration::from_secs(30))), 1, 2, true),
            (ErrorClass::Throttled(Some(Duration::MAX)), 1, 2, true),
            (ErrorClass::Unavailable(Duration::ZERO), 2, 3, true),
            (ErrorClass::Transient, 9, 3, false),
            (ErrorClass::Credential, 9, 1, false),
        ] {
            let requests = std::cell::Cell::new(0);
            let answer = retried(ATTEMPTS, || {
                requests.set(requests.get() + 1);
                let failure = AzureError {
                    class: class.clone(),
                    code: "X".into(),
                    message: String::new(),
                    operation: String::new(),
                    request_id: None,
                    effect_unknown: false,
                };
                let answer = if requests.get() <= failures {
                    Err(failure)
                } else {
                    Ok(())
                };
                std::future::ready(answer)
            });
            assert_eq!(answer.await.is_ok(), succeeds, "{class:?}");
            assert_eq!(requests.get(), attempts, "{class:?}");
        }
    }
}
