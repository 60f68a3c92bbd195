//! Verification of machines with the answers of the switches that docs/azure-api.md 10 considers more likely.

mod fleet;

fn main() -> std::process::ExitCode {
    fleet::run("default")
}
