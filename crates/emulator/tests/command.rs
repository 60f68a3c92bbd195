//! The binary: its ready line, `ctl`, and how it stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends there"
)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_azure-emulator");
const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ctl(endpoint: &str, ca: &str, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(["ctl", "--endpoint", endpoint, "--ca", ca])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn ctl_controls_a_served_cloud() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(BINARY)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--switch",
            "budgetWindow=1h",
            "--certificates",
        ])
        .arg(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut running = Running(child);
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, _, endpoint, _, ca] = words.as_slice() else {
        panic!("{line}")
    };

    let set = ctl(
        endpoint,
        ca,
        &[
            "set",
            SUBSCRIPTION,
            "settings.WDATP=true",
            "pricings.VirtualMachines.pricingTier=Standard",
            "pricings.VirtualMachines.subPlan=P1",
        ],
    );
    assert!(set.status.success(), "{set:?}");
    let shown = String::from_utf8(ctl(endpoint, ca, &["get", SUBSCRIPTION]).stdout).unwrap();
    assert!(shown.contains(r#""subPlan": "P1""#), "{shown}");
    let switches = String::from_utf8(ctl(endpoint, ca, &["switches"]).stdout).unwrap();
    assert!(switches.contains(r#""budgetWindow": "1h""#), "{switches}");
    assert!(ctl(endpoint, ca, &["breaches"]).status.success());
    // `ctl ... | head` ends quietly.
    for arguments in [&["get"][..], &["requests"], &["breaches"]] {
        let mut closed = Command::new(BINARY)
            .args(["ctl", "--endpoint", endpoint, "--ca", ca])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(closed.stdout.take());
        let ended = closed.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
    }
    let wrong = ctl(
        endpoint,
        ca,
        &["set", SUBSCRIPTION, "pricings.VirtualMachines.colour=red"],
    );
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("pricings.VirtualMachines.colour"));

    let began = Instant::now();
    Command::new("kill")
        .arg(running.0.id().to_string())
        .status()
        .unwrap();
    assert!(running.0.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(1));
}
