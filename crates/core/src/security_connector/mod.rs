//! `SecurityConnector`: from spec and observation to the connector's full body, and to status.
//!
//! A managed field is a row of [`desired`]: its path in the spec, its place in Azure's JSON, and the expected value.
//! Comparison ([`changes`]) and write ([`merge`]) use the same rows, and change nothing else.

pub mod account;
pub mod changes;
pub mod cloud;
pub mod decide;
pub mod deletion;
pub mod desired;
pub mod events;
pub mod expected;
pub mod health;
pub mod history;
pub mod merge;
pub mod observed;
pub mod prerequisites;
pub mod reads;
pub mod reductions;
pub mod requeue;
pub mod status;

#[cfg(test)]
mod official;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod situations;
