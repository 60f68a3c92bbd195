//! Target to `Observed`: every reading of a visit at once. A failure is an observation too.

use futures::future::{OptionFuture, join_all};
use serverprotection_core::{
    failure::{Class, Failure},
    server_protection::{
        observed::{Observed, Reading, RegistrationState},
        reads::Reads,
    },
};

use crate::arm::Arm;

impl Arm {
    /// Reads plan, settings and assessment, and what `reads` asks for besides.
    pub async fn observe(&self, subscription: &str, reads: &Reads) -> Observed {
        if let Err(failure) = self.check_credential().await {
            return Observed::without_credential(failure);
        }
        let workspaces = reads
            .workspaces
            .iter()
            .map(|id| async move { (id.clone(), self.security_solution(id).await) });
        let (plan, settings, assessment, details, mut registration, permissions, workspaces) = tokio::join!(
            self.plan(subscription),
            self.settings(subscription),
            self.assessment(subscription),
            OptionFuture::from(reads.subscription.then(|| self.subscription(subscription))),
            OptionFuture::from(reads.registration.then(|| self.registration(subscription))),
            OptionFuture::from(reads.permissions.then(|| self.permissions(subscription))),
            join_all(workspaces),
        );
        let unregistered =
            |failure: Option<&Failure>| failure.is_some_and(|failure| failure.class == Class::NotRegistered);
        let not_registered = unregistered(failure_of(&plan))
            || unregistered(failure_of(&settings))
            || unregistered(failure_of(&assessment));
        if not_registered {
            let read = match registration {
                Some(read) => read,
                None => self.registration(subscription).await,
            };
            // Who may not read the registration has just been told by the provider itself.
            registration = Some(match read {
                Err(failure) if matches!(failure.class, Class::Permission(_)) => {
                    Ok(RegistrationState::NotRegistered)
                }
                read => read,
            });
        }
        Observed {
            credential: Ok(()),
            subscription: details,
            registration,
            plan: Some(plan),
            settings: Some(settings),
            assessment: Some(assessment),
            permissions,
            workspaces,
        }
    }
}

fn failure_of<T>(reading: &Reading<T>) -> Option<&Failure> {
    reading.as_ref().err()
}
