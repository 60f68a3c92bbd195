//! Verification of machines, with the answers to open questions that contract.md judges likelier.

mod fleet;

fn main() -> std::process::ExitCode {
    fleet::run("default")
}
