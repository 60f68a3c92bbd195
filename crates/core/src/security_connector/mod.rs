//! `SecurityConnector`: from spec and observation to the content of a PUT, and to status.
//!
//! A managed field is a row of [`desired`]: a [`field`] and its expected value. Comparison ([`changes`]) and
//! [`mod@write`] use the same rows, and change nothing else. The JSON is known to `azure` only.

pub mod account;
pub mod arc_providers;
pub mod changes;
pub mod cloud;
pub mod decide;
pub mod deletion;
pub mod desired;
pub mod events;
pub mod expected;
pub mod field;
pub mod health;
pub mod history;
pub mod observed;
pub mod prerequisites;
pub mod proof;
pub mod reads;
pub mod reductions;
pub mod requeue;
pub mod status;
pub mod subject;
pub mod value;
pub mod write;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod situations;
