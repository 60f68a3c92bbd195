//! An emulator of the Azure APIs that the operator uses: Entra, ARM, Defender for Cloud.
//!
//! It shares no type with the operator: it is an independent implementation of the documented APIs. Facts that could
//! not be confirmed about the real service are switches ([`switches`]) with two answers.

pub mod answer;
pub mod arm;
pub mod certificates;
pub mod command;
pub mod control;
pub mod emulator;
pub mod entra;
pub mod faults;
pub mod foreign;
pub mod handler;
pub mod incoming;
pub mod instant;
pub mod knobs;
pub mod log;
pub mod monitor;
mod query;
pub mod record;
pub mod server;
pub mod shared;
pub mod state;
pub mod switches;
pub mod wire;
