//! The serverprotection command.
fn main() {}
