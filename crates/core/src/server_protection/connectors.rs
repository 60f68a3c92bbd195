//! The `SecurityConnector`s of a `ServerProtection`, as observed in the cluster.

/// The connectors of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connectors {
    /// The number of connectors.
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
