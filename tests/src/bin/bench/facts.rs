//! Origin of the figures: machine, build, date.

use crate::arguments::Arguments;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serverprotection_tests::binaries;
use std::{fs, process::Command};

/// Machine and build.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    date: String,
    cores: usize,
    processor: String,
    memory_gib: f64,
    kernel: String,
    load: String,
    build: &'static str,
    rustc: String,
    commit: String,
    latency: String,
    controller: String,
}

/// Reads the facts. What cannot be read is "unknown".
pub(crate) fn collect(arguments: &Arguments) -> Facts {
    let date = arguments.date.clone();
    let date = date.unwrap_or_else(|| Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string());
    let mut controller: Vec<String> = arguments
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    controller.extend(arguments.program.iter().map(|path| path.display().to_string()));
    controller.extend(arguments.flags.clone());
    if controller.is_empty() {
        controller.push("defaults".into());
    }
    Facts {
        date,
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
        processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        memory_gib: memory().unwrap_or_default(),
        kernel: line("/proc/sys/kernel/osrelease"),
        load: line("/proc/loadavg")
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" "),
        build: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        rustc: output("rustc", &["--version"]),
        commit: commit(),
        latency: humantime::format_duration(arguments.latency).to_string(),
        controller: controller.join(" "),
    }
}

impl Facts {
    /// As text.
    pub(crate) fn text(&self) -> String {
        let warning = if self.build == "debug" {
            "  THIS IS A DEBUG BUILD: times and memory are not meaningful\n"
        } else {
            ""
        };
        format!(
            "{}\n  machine     {} cores ({}), {:.0} GiB, Linux {}; load before: {}\n  build       {}, {}, commit {}\n{warning}  emulator    latency {} of every response\n  controller  {}\n",
            self.date,
            self.cores,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.load,
            self.build,
            self.rustc,
            self.commit,
            self.latency,
            self.controller
        )
    }
}

fn unknown() -> String {
    "unknown".into()
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let found = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(found.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

fn memory() -> Option<f64> {
    let text = field("/proc/meminfo", "MemTotal")?;
    let kibibytes: u32 = text.trim_end_matches("kB").trim().parse().ok()?;
    Some(f64::from(kibibytes) / 1024.0 / 1024.0)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(binaries::root())
        .output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => unknown(),
    }
}

/// The commit, with `+` if the sources of the programs have changed since.
fn commit() -> String {
    let commit = output("git", &["rev-parse", "--short", "HEAD"]);
    let changed = output("git", &["status", "--porcelain", "--", "crates", "Cargo.lock"]);
    let mark = if changed.is_empty() || changed == "unknown" {
        ""
    } else {
        "+"
    };
    format!("{commit}{mark}")
}
