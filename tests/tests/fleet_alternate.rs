//! Verification of machines with the other answers of the switches.

mod fleet;

fn main() -> std::process::ExitCode {
    fleet::run("alternate")
}
