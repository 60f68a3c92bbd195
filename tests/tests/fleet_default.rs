//! Verification of machines, with the answers to open questions that docs/azure-api.md 10 judges likelier.

mod fleet;

fn main() -> std::process::ExitCode {
    fleet::run("default")
}
