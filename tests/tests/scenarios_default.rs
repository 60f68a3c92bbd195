//! The ServerProtection cases with the answers of the switches that docs/azure-api.md 10 considers more likely.

mod scenarios;

fn main() -> std::process::ExitCode {
    scenarios::run("default")
}
