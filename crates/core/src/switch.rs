//! Switches: fields of a spec that are on, off or not managed.

use serverprotection_api::State;

/// As a switch that is on is written in spec and status.
pub const ENABLED: &str = "Enabled";
/// As a switch that is off is written in spec and status.
pub const DISABLED: &str = "Disabled";

/// A switch as it is written in spec and status.
pub const fn switch_name(on: bool) -> &'static str {
    if on { ENABLED } else { DISABLED }
}

/// A state as on, off or not managed.
pub(crate) const fn switch(state: State) -> Option<bool> {
    match state {
        State::Enabled => Some(true),
        State::Disabled => Some(false),
        State::Unmanaged => None,
    }
}
