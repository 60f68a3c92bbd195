//! The writes of a `ServerProtection`. Each write checks first that its permit still holds.

use serverprotection_core::{
    azure_error::AzureError,
    gate::WritePermit,
    server_protection::{
        changes::{Action, Change},
        decide::{Outcome, PlanResponse},
    },
};

use crate::principal::Session;

impl Session {
    /// Makes the changes in order, and stops at the first error or when the permit ends. The outcome contains the
    /// changes that were made, and the one that failed with its error.
    pub(crate) async fn apply(
        &self,
        subscription: &str,
        changes: &[Change],
        permit: &WritePermit,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for change in changes {
            if !permit.holds() {
                break;
            }
            match self.write(subscription, &change.action, permit).await {
                Ok(answer) => {
                    outcome.response = answer.or(outcome.response);
                    outcome.done.push(change.clone());
                }
                Err(Stopped::Failed(failure)) => {
                    outcome.failed = Some((change.clone(), failure));
                    break;
                }
                Err(Stopped::PermitEnded) => break,
            }
        }
        outcome
    }

    async fn write(
        &self,
        subscription: &str,
        action: &Action,
        permit: &WritePermit,
    ) -> Result<Option<PlanResponse>, Stopped> {
        match action {
            Action::Register => self.arm.register(subscription, permit).await?,
            Action::PutPlan(write) => {
                let _lock = self.locks.plans(subscription).await;
                // The permit may have ended while this waited for the lock.
                if !permit.holds() {
                    return Err(Stopped::PermitEnded);
                }
                return Ok(Some(self.arm.put_plan(subscription, write, permit).await?));
            }
            Action::PutSetting { setting, on } => {
                self.arm.put_setting(subscription, *setting, *on, permit).await?;
            }
            Action::PutAssessment => self.arm.put_assessment(subscription, permit).await?,
            Action::DeleteAssessment => self.arm.delete_assessment(subscription, permit).await?,
        }
        Ok(None)
    }
}

enum Stopped {
    Failed(AzureError),
    PermitEnded,
}

impl From<AzureError> for Stopped {
    fn from(failure: AzureError) -> Self {
        Self::Failed(failure)
    }
}
