//! `SecurityConnector`: connects the servers of one AWS account or GCP project, or of an organization of them.

pub mod cloud;
pub mod spec;
pub mod status;
