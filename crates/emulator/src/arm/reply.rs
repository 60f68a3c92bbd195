//! What a handler returns.

use std::time::Duration;

use super::resource_graph::Evaluation;
use crate::answer::{Answer, ArmError};

/// A response, or as much of it as is known while the cloud is locked.
pub(crate) struct Reply {
    /// The response; only headers if a query follows.
    pub(crate) answer: Answer,
    /// When to send it.
    pub(crate) delay: Duration,
    /// A query of Resource Graph, which takes long and is therefore evaluated concurrently with other requests.
    pub(crate) query: Option<Box<Evaluation>>,
}

impl Reply {
    /// A response that is sent later.
    pub(super) fn after(delay: Duration, answer: Answer) -> Self {
        Self {
            answer,
            delay,
            query: None,
        }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::after(Duration::ZERO, answer)
    }
}

impl From<ArmError> for Reply {
    fn from(error: ArmError) -> Self {
        Answer::from(error).into()
    }
}
