//! The main job, with the other answers to every open question.

mod scenarios;

fn main() -> std::process::ExitCode {
    scenarios::run("alternate")
}
