//! Processor time of the controller, of everything that it talks to, and of all other processes of the machine.

use serde::Serialize;
use std::{collections::BTreeMap, fs, time::Duration};

/// Processor time by program.
pub(crate) type Times = BTreeMap<&'static str, Duration>;

/// The programs of a run.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    known: Vec<(&'static str, i32)>,
}

/// Processor time of a phase.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Share {
    /// Seconds by program of the run.
    pub(crate) seconds: BTreeMap<&'static str, f64>,
    /// Seconds of all other processes of the machine, which disturb the measurement.
    pub(crate) everybody_else: f64,
}

impl Programs {
    /// The programs by their process ids, with the emulator (a child process, found by its parent) and this program.
    pub(crate) fn new(known: &[(&'static str, i32)]) -> Self {
        let mut known = known.to_vec();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        known.push(("bench", own));
        known.extend(child(own, "azure-emulator").map(|id| ("emulator", id)));
        Self { known }
    }

    /// Processor time so far by program; `machine` is the sum over the whole machine.
    pub(crate) fn times(&self) -> Times {
        let mut times: Times = self
            .known
            .iter()
            .filter_map(|(name, id)| Some((*name, of_process(*id)?)))
            .collect();
        times.insert("machine", of_machine().unwrap_or_default());
        times
    }
}

impl Share {
    /// Seconds of a program.
    pub(crate) fn of(&self, program: &str) -> f64 {
        self.seconds.get(program).copied().unwrap_or_default()
    }

    /// The sum of two phases.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (program, seconds) in &other.seconds {
            *sum.seconds.entry(program).or_default() += seconds;
        }
        sum.everybody_else += other.everybody_else;
        sum
    }
}

/// The difference of two measurements.
pub(crate) fn between(before: &Times, after: &Times) -> Share {
    let mut share = Share::default();
    let mut ours = 0.0;
    for (name, after) in after {
        let before = before.get(name).copied().unwrap_or_default();
        let seconds = after.saturating_sub(before).as_secs_f64();
        if *name == "machine" {
            share.everybody_else += seconds;
        } else {
            ours += seconds;
            share.seconds.insert(name, seconds);
        }
    }
    share.everybody_else = (share.everybody_else - ours).max(0.0);
    share
}

/// `USER_HZ` is 100 on every Linux that Rust supports.
fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

fn of_process(id: i32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Fields after the name: 3 is the state, 14 and 15 are the times.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(ticks(user + system))
}

/// Time of all cores that was neither idle nor waiting.
fn of_machine() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let busy = line
        .split_whitespace()
        .take(8)
        .enumerate()
        .filter(|(at, _)| ![3, 4].contains(at))
        .filter_map(|(_, text)| text.parse::<u64>().ok())
        .sum();
    Some(ticks(busy))
}

fn child(parent: i32, name: &str) -> Option<i32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let of: i32 = tail.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent && head.split_once('(')?.1 == name).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_everybody_elses() {
        let times = |bench: u64, machine: u64| {
            Times::from([
                ("bench", Duration::from_secs(bench)),
                ("machine", Duration::from_secs(machine)),
            ])
        };
        let share = between(&times(1, 10), &times(3, 15));
        assert!((share.everybody_else - 3.0).abs() < 1e-9);
        assert!((share.of("bench") - 2.0).abs() < 1e-9);
        let twice = share.plus(&share);
        assert!((twice.of("bench") - 4.0).abs() < 1e-9 && (twice.everybody_else - 6.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_and_this_machine_can_be_read() {
        let times = Programs::new(&[]).times();
        assert!(times.contains_key("bench") && times.contains_key("machine"));
    }
}
