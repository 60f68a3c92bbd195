//! The health of a connection, as status shows it.

use serverprotection_api::SecurityConnectorStatus;

/// The health of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Azure has not reported about it, and no machine has appeared.
    Unknown,
    /// Azure reports it as healthy, or machines have appeared.
    Healthy,
    /// Azure reports it as not healthy.
    NotHealthy,
}

impl Health {
    /// As status and Azure's reports spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Healthy => "Healthy",
            Self::NotHealthy => "NotHealthy",
        }
    }

    /// Whether status shows this health.
    pub(crate) fn is_in(self, status: &SecurityConnectorStatus) -> bool {
        status.health.as_deref() == Some(self.as_str())
    }
}
