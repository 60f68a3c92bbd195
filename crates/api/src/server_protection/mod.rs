//! `ServerProtection`: the protection of one Azure subscription.

pub mod file_integrity;
pub mod machines;
pub mod spec;
pub mod status;
