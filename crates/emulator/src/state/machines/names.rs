//! Open sets of words of the services: unknown values must be possible too.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! open {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($variant,)+
            Other(Box<str>),
        }

        impl $name {
            /// The word, in the service's spelling if it is known.
            pub(crate) fn parse(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($text) { return Self::$variant; })+
                Self::Other(text.into())
            }

            pub(crate) fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| Self::parse(&text))
            }
        }
    };
}

open!(
    /// Power state of an Azure VM, the word after `PowerState/`.
    Power {
        Running = "running",
        Starting = "starting",
        Stopping = "stopping",
        Stopped = "stopped",
        Deallocating = "deallocating",
        Deallocated = "deallocated",
    }
);

open!(
    /// `properties.status` of an Arc machine.
    Status {
        Connected = "Connected",
        Disconnected = "Disconnected",
        Error = "Error",
        Expired = "Expired",
        Connecting = "Connecting",
        AwaitingConnection = "AwaitingConnection",
    }
);

open!(
    /// `provisioningState` of an extension.
    State {
        Creating = "Creating",
        Updating = "Updating",
        Deleting = "Deleting",
        Succeeded = "Succeeded",
        Failed = "Failed",
        Canceled = "Canceled",
    }
);

open!(
    /// The cloud in which a machine runs.
    Cloud {
        Azure = "Azure",
        OnPremises = "OnPremises",
        Aws = "AWS",
        Gcp = "GCP",
    }
);

impl State {
    /// Whether the state is final.
    pub(crate) fn terminal(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// The status of a service of the Arc agent, in the terms of its operating system; running by default.
pub(crate) fn service_status(windows: bool, status: Option<&str>) -> &str {
    match (status, windows) {
        (Some("stopped"), false) => "inactive",
        (Some(status), _) => status,
        (None, true) => "running",
        (None, false) => "active",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_normalised_and_others_kept() {
        assert_eq!(Status::parse("connected"), Status::Connected);
        assert_eq!(Status::parse("Hibernating").name(), "Hibernating");
        assert_eq!(serde_json::from_str::<Cloud>("\"aws\"").unwrap(), Cloud::Aws);
    }
}
