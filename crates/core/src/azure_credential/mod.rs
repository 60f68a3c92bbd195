//! `AzureCredential`: whether Entra issues a token for it. What the identity may do is not decided here.

pub mod certificate;
pub mod events;
pub mod history;
pub mod requeue;
pub mod status;

#[cfg(test)]
mod situations;
