//! The ServerProtection cases with the other answers of the switches.

mod scenarios;

fn main() -> std::process::ExitCode {
    scenarios::run("alternate")
}
