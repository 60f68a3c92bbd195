//! The `SecurityConnector`s of a `ServerProtection`, as the cluster shows them.

/// All of one object, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connectors {
    /// How many there are.
    pub total: usize,
    /// Those that are not Ready, by name.
    pub not_ready: Vec<NotReady>,
}

/// A connector that is not Ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotReady {
    /// Name of the object.
    pub name: String,
    /// Reason of its condition Ready.
    pub reason: String,
}
