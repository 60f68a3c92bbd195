//! `ServerProtection`: from spec and readings to changes and status.

pub mod changes;
pub mod connectors;
pub mod contested;
pub mod decide;
pub mod desired;
pub mod events;
pub mod file_integrity;
pub mod laws;
pub mod observed;
pub mod pace;
pub mod reads;
pub mod reductions;
pub mod status;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod situations;
