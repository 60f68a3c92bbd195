//! `ServerProtection`: the protection of one Azure subscription.

pub mod spec;
pub mod status;
