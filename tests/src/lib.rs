//! Infrastructure of whole-system tests: a real kube-apiserver and etcd, the Azure emulator and the controller as
//! processes, and checks of what they did.
//!
//! [`harness::run`] is the entry point of a test binary. Most of them start an [`env::Environment`].
#![allow(
    clippy::missing_errors_doc,
    reason = "every error of the harness fails the test that meets it"
)]

pub mod apply;
pub mod binaries;
pub mod certificates;
pub mod command;
pub mod control_plane;
pub mod controller_process;
pub mod emulator;
pub mod env;
pub mod error;
pub mod gitops;
pub mod grants;
pub mod harness;
pub mod helm;
pub mod kstatus;
pub mod objects;
pub mod platform;
pub mod process;
pub mod quickstart;
pub mod recorder;
pub mod relay;
pub mod team;
pub mod users;
pub mod wait;

pub use error::Error;
