//! The modes of a `ServerProtection`.

use serverprotection_api::Mode;

/// A mode as it is written in spec and status.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "Enforce",
        Mode::Observe => "Observe",
    }
}
