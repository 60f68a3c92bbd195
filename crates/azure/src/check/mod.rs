//! The reads of `serverprotection check-azure`: what the operator would read of one subscription, as Azure answers it,
//! and what that says about the unconfirmed points (docs/azure-api.md 10). It writes nothing.

mod points;
mod reads;
mod shape;

#[cfg(test)]
mod tests;

use serde_json::Value;
use serverprotection_core::{
    azure_error::AzureError,
    reading::{Permissions, ReadResult},
};

use crate::{Client, error_response::is_absent, resources::permissions};

/// The answers of Azure about one subscription.
#[derive(Clone, Debug)]
pub struct Check {
    /// Every request, in the order in which it was sent.
    pub reads: Vec<Answer>,
    /// What the answers say about the unconfirmed points.
    pub points: Vec<Point>,
    /// What the identity may do on the subscription.
    pub permissions: ReadResult<Permissions>,
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was read: `pricings`.
    pub name: &'static str,
    /// The version of the API.
    pub api_version: &'static str,
    /// Whether the operator itself sends this request; the others only answer unconfirmed points.
    pub needed: bool,
    /// The form of the answer: names of members, types, and the values of closed sets. Contains no value that
    /// identifies anything.
    pub shape: Result<Value, AzureError>,
}

/// An unconfirmed point of docs/azure-api.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Section of docs/azure-api.md.
    pub section: &'static str,
    /// The point, in the words of that page.
    pub name: &'static str,
    /// What the answers show.
    pub finding: Finding,
}

/// What the answers show about a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The answer, in a sentence without identifying values.
    Seen(String),
    /// Nothing in this subscription shows it; what would.
    NotSeen(&'static str),
    /// The request that would show it failed, with this code.
    Failed(String),
}

/// The raw answers, by name.
#[derive(Debug, Default)]
struct Raw(Vec<(reads::Read, ReadResult<Value>)>);

impl Raw {
    /// The answer to a read; `None` if it was not sent.
    fn get(&self, name: &str) -> Option<&ReadResult<Value>> {
        let (_, answer) = self.0.iter().find(|(read, _)| read.name == name)?;
        Some(answer)
    }
}

impl Client {
    /// Reads everything about a subscription that answers an unconfirmed point or that the operator needs.
    ///
    /// # Errors
    ///
    /// If there is no token. A failed read is part of the result.
    pub async fn check(&self, subscription: &str) -> ReadResult<Check> {
        let session = self.session().await?;
        let mut raw = reads::all(&session.arm, subscription).await;
        let machine = reads::arc_machine(&session.arm, &raw).await;
        raw.0.extend(machine);
        let reads = raw.0.iter().map(|(read, answer)| Answer {
            name: read.name,
            api_version: read.api_version,
            needed: read.needed,
            shape: match answer {
                Ok(answer) => read.judge(answer).map(|()| shape::of(answer)),
                // An assessment that was never selected is a 404.
                Err(failure) if read.name == "assessment" && is_absent(failure) => Ok(Value::Null),
                Err(failure) => Err(failure.clone()),
            },
        });
        let permissions = match raw.get("permissions") {
            Some(Ok(grants)) => permissions::read(grants.as_array().map_or(&[], Vec::as_slice)),
            Some(Err(failure)) => Err(failure.clone()),
            None => Ok(Permissions::default()),
        };
        Ok(Check {
            permissions,
            reads: reads.collect(),
            points: points::all(&raw),
        })
    }
}
