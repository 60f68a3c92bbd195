//! The crash cases with the other answers of the switches.

mod crashes;

fn main() -> std::process::ExitCode {
    crashes::run("alternate")
}
