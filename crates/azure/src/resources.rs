//! One file for each resource: path, api-version, wire shape and meaning.

pub(crate) mod assessment;
pub(crate) mod connector_health;
mod extension_properties;
mod integrity_rules;
mod other_plans;
pub(crate) mod permissions;
pub(crate) mod pricings;
pub(crate) mod protection_places;
pub(crate) mod registration;
pub(crate) mod resource_groups;
pub(crate) mod security_connectors;
pub(crate) mod settings;
pub(crate) mod solutions;
pub(crate) mod subscription;
pub(crate) mod subscriptions;
