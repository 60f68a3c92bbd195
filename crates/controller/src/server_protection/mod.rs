//! The controller of `ServerProtection`.

mod feed;
mod news;
mod visit;

pub(crate) use self::{
    feed::{Feed, claimant_of},
    visit::{unreadable, visit},
};
