//! Terraform configurations: root modules, which refuse any account but that of the connector.

pub(super) mod aws;
pub(super) mod gcp;

use super::hcl::{Block, Expression, Item, argument, block};

/// The provider, and the oldest versions that support everything in use.
fn settings(name: &str, version: &str) -> Block {
    let provider = Expression::Object(vec![
        ("source".into(), format!("hashicorp/{name}").as_str().into()),
        ("version".into(), version.into()),
    ]);
    block(
        "terraform",
        [],
        vec![
            argument("required_version", ">= 1.3"),
            Item::Blank,
            Item::Block(block("required_providers", [], vec![argument(name, provider)])),
        ],
    )
}
