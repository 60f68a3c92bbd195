//! Under construction.

#[derive(Debug, Default)]
pub(super) struct Memory {
    nothing: (),
}
