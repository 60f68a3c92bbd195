//! `ServerProtection`: from spec and observation to changes and status.

pub mod azure_rules;
pub mod changes;
pub mod connectors;
pub mod decide;
pub mod desired;
pub mod events;
pub mod field;
pub mod file_integrity;
pub mod history;
pub mod observed;
pub mod proof;
pub mod property;
pub mod provisioning;
pub mod reads;
pub mod reductions;
pub mod refused;
pub mod requeue;
pub mod status;
pub mod untouched;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod situations;
