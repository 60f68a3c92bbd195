//! Generated files.
fn main() {}
