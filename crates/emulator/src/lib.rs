//! An emulator of the Azure APIs that the operator uses: Entra, ARM, Defender for Cloud.
//!
//! It shares no type with the operator: it is a second reading of the same contract. What nobody could
//! confirm about the real service is a switch ([`switches`]) with both answers.

pub mod answer;
pub mod arm;
pub mod certificates;
pub mod command;
pub mod control;
pub mod emulator;
pub mod entra;
pub mod faults;
mod fleet;
pub mod foreign;
pub mod graph;
pub mod handler;
pub mod incoming;
pub mod instant;
pub mod knobs;
pub mod log;
pub mod monitor;
pub mod record;
pub mod server;
pub mod shared;
pub mod state;
pub mod switches;
pub mod wire;
