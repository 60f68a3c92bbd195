//! The result of switching an extension on, as status shows it.

use serverprotection_api::ExtensionStatus;

/// The result of switching an extension on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioning {
    /// Azure reported a success.
    Succeeded,
    /// Azure reported a failure.
    Failed,
    /// The response with the result never arrived.
    ResultLost,
    /// The extension was on before this object wrote anything.
    NotReported,
}

impl Provisioning {
    /// As status shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::ResultLost => "ResultLost",
            Self::NotReported => "NotReported",
        }
    }

    /// Whether status shows this result for an extension.
    pub(crate) fn is_of(self, extension: &ExtensionStatus) -> bool {
        extension.provisioning.as_deref() == Some(self.as_str())
    }
}
