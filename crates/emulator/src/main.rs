//! The azure-emulator command.
fn main() {}
