//! The crash cases with the answers of the switches that docs/azure-api.md 10 considers more likely.

mod crashes;

fn main() -> std::process::ExitCode {
    crashes::run("default")
}
