//! The controller of `SecurityConnector`.

mod deletion;
mod feed;
mod finalizer;
mod look;
mod news;
mod visit;

pub(crate) use self::{feed::Feed, visit::visit};
pub(crate) use deletion::unreadable;
