//! The command line. The doc comments are the text of `--help`.
#![allow(clippy::doc_markdown, reason = "the text of --help is no Markdown")]

use clap::{ArgAction, CommandFactory as _, Parser, builder::BoolishValueParser, error::ErrorKind};
use std::{ffi::OsString, path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
Examples:
  make bench                                   everything except --at-rest and --largest, about 18 minutes
  cargo run --release -p serverprotection-tests --bin bench -- --objects 1,100
  cargo run --release -p serverprotection-tests --bin bench -- --machines 10000 --subscriptions 100
  cargo run --release -p serverprotection-tests --bin bench -- --connectors 200
  cargo run --release -p serverprotection-tests --bin bench -- --takeovers 100,1000
  cargo run --release -p serverprotection-tests --bin bench -- --at-rest 10000
  cargo run --release -p serverprotection-tests --bin bench -- --largest 200

Exit codes:
  0  All counts are within their limits.
  1  A COUNT exceeds its limit: writes per needed change, unneeded writes or status writes, status writes, events and
     reads of the API server per object, reads per quiet reconcile, queries per scan, machines with a wrong verdict,
     requests for the list of connectors, breaches of the safety monitor.
  2  The benchmark could not run.
Times, CPU and memory depend on the machine and never fail the run; the table shows them with their limits.";

/// Measure what the controller costs: requests to Azure and to Kubernetes, time, memory, CPU
///
/// Starts its own kube-apiserver, etcd and Azure emulator for each run; needs no cluster and no root. Without a number
/// for a part, runs --objects, --machines, --connectors and --takeovers with their defaults.
///
/// Objects: all objects are created before the controller starts, one for each Free subscription. The benchmark measures
/// the controller until all are Ready (converge), until all show their machines (the first scan), and then while each
/// object is reconciled at least three times without changes (quiet).
///
/// Machines: one identity, one object for each subscription, and machines in the subscriptions. The benchmark measures
/// the first scan, which confirms machines, and then two scans without changes. It first runs the same objects without
/// machines: the difference is the memory for machines.
///
/// Connectors: one subscription with its ServerProtection and this many connectors of AWS accounts, all created before
/// the controller starts; Azure takes time for each PUT. The benchmark measures until all are Ready, and requests
/// reconciles of the ServerProtection in the meantime. Then it restarts the controller, and each connector is reconciled
/// six times without changes. It first runs the same without connectors.
///
/// Takeovers: a second replica of the controller waits. The benchmark kills the leader (SIGKILL), and later ends the next
/// one (SIGTERM), and measures until the other replica is the leader and has read every object.
///
/// Largest: objects of the largest size that admission allows, all of one tenant, suspended and without a credential. The
/// benchmark measures the memory of the controller while they are created, and after a restart.
///
/// At rest: objects of subscriptions that are already as the objects demand, with the default interval. After all are
/// Ready and scanned, the benchmark measures for a while.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Numbers of objects [default: 1,100,1000 unless another part is selected]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number)]
    objects: Option<Vec<usize>>,

    /// Machines of each fleet [default: 10000,100000,10000 unless another part is selected]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number, requires = "subscriptions")]
    machines: Option<Vec<usize>>,

    /// Subscriptions of each fleet [default: 100,500,1000]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number, requires = "machines")]
    subscriptions: Option<Vec<usize>>,

    /// Connectors of one subscription [default: 200 unless another part is selected]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number)]
    connectors: Option<Vec<usize>>,

    /// Numbers of objects whose leader is replaced [default: 100 unless another part is selected]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number)]
    takeovers: Option<Vec<usize>>,

    /// Objects at rest [default: none]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number)]
    at_rest: Option<Vec<usize>>,

    /// Objects of the largest size that admission allows, of one tenant [default: none]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = number)]
    largest: Option<Vec<usize>>,

    /// How long objects at rest are measured; 10m reconciles each of them once
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) rest_time: Duration,

    /// Time that Azure takes to write a connector
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) put_time: Duration,

    /// Whether Azure's budgets apply until connectors are Ready: on or off. With them, 100 reads in 5 minutes are the
    /// only thing that is measured
    #[arg(long, value_name = "on|off", default_value = "off", action = ArgAction::Set, value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub(crate) throttling: bool,

    /// Latency of every response of the emulator
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub(crate) latency: Duration,

    /// Interval of the quiet phase [default: 2s for 1 object, 10s for 100, 30s for 1000]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    reconcile_every: Option<Duration>,

    /// Namespaces, each with its own AzureCredential [default: one for each 100 objects]
    #[arg(long, value_name = "N", value_parser = number)]
    namespaces: Option<usize>,

    /// Write the figures as JSON to this file [default: target/bench.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Date in the output [default: now]
    #[arg(long, value_name = "TEXT")]
    pub(crate) date: Option<String>,

    /// Measure another serverprotection program, for example one of an older commit
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,

    /// Environment variable of the controller, for example MALLOC_ARENA_MAX=1. Repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) environment: Vec<(String, String)>,

    /// Copy the controller's log of the last run to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) keep_log: Option<PathBuf>,

    /// More flags of the controller, for example --concurrency 64
    #[arg(last = true, value_name = "FLAG")]
    pub(crate) flags: Vec<String>,
}

/// The machines of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) machines: u64,
    pub(crate) subscriptions: usize,
}

const OBJECTS: [usize; 3] = [1, 100, 1000];
const FLEETS: [Fleet; 3] = [
    Fleet::new(10_000, 100),
    Fleet::new(100_000, 500),
    Fleet::new(10_000, 1000),
];
const CONNECTORS: [usize; 1] = [200];
const TAKEOVERS: [usize; 1] = [100];

impl Fleet {
    const fn new(machines: u64, subscriptions: usize) -> Self {
        Self {
            machines,
            subscriptions,
        }
    }

    /// Interval between the starts of two scans: longer than a scan takes, so that scans do not overlap.
    pub(crate) fn scan_every(self) -> Duration {
        Duration::from_secs(15 + self.machines / 2000)
    }
}

impl Arguments {
    /// Parses the command line, with the program's name.
    ///
    /// # Errors
    ///
    /// Returns what clap prints: the help, or what is wrong with an argument.
    pub(crate) fn read<T: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let arguments = Self::try_parse_from(line)?;
        let count = |numbers: &Option<Vec<usize>>| numbers.as_ref().map(Vec::len);
        if count(&arguments.machines) != count(&arguments.subscriptions) {
            let problem = "--machines and --subscriptions must have the same number of values";
            return Err(Self::command().error(ErrorKind::ValueValidation, problem));
        }
        Ok(arguments)
    }

    /// Whether the command line selects a part, so that only selected parts run.
    const fn selects(&self) -> bool {
        self.objects.is_some()
            || self.machines.is_some()
            || self.connectors.is_some()
            || self.takeovers.is_some()
            || self.at_rest.is_some()
            || self.largest.is_some()
    }

    /// Numbers of objects to measure.
    pub(crate) fn objects(&self) -> Vec<usize> {
        self.part(self.objects.as_ref(), &OBJECTS)
    }

    /// Fleets to measure.
    pub(crate) fn fleets(&self) -> Vec<Fleet> {
        let (Some(machines), Some(subscriptions)) = (&self.machines, &self.subscriptions) else {
            return self.part(None, &FLEETS);
        };
        let number = |machines: &usize| u64::try_from(*machines).unwrap_or(u64::MAX);
        let fleets = machines.iter().map(number).zip(subscriptions);
        fleets
            .map(|(machines, subscriptions)| Fleet::new(machines, *subscriptions))
            .collect()
    }

    /// Numbers of connectors to measure.
    pub(crate) fn connectors(&self) -> Vec<usize> {
        self.part(self.connectors.as_ref(), &CONNECTORS)
    }

    /// Numbers of objects to measure at rest.
    pub(crate) fn at_rest(&self) -> Vec<usize> {
        self.part(self.at_rest.as_ref(), &[])
    }

    /// Numbers of objects whose leader is replaced.
    pub(crate) fn takeovers(&self) -> Vec<usize> {
        self.part(self.takeovers.as_ref(), &TAKEOVERS)
    }

    /// Numbers of largest objects to measure.
    pub(crate) fn largest(&self) -> Vec<usize> {
        self.part(self.largest.as_ref(), &[])
    }

    fn part<T: Clone>(&self, selected: Option<&Vec<T>>, default: &[T]) -> Vec<T> {
        match selected {
            Some(selected) => selected.clone(),
            None if self.selects() => Vec::new(),
            None => default.to_vec(),
        }
    }

    /// The interval of the quiet phase: long enough that the first objects are not reconciled again while the last
    /// ones still converge.
    pub(crate) fn cadence(&self, objects: usize) -> Duration {
        let objects = u32::try_from(objects).unwrap_or(u32::MAX);
        let each = Duration::from_millis(80).saturating_mul(objects);
        let short = (Duration::from_secs(2) + each).min(Duration::from_secs(30));
        let chosen = short.max(Duration::from_millis(30).saturating_mul(objects));
        self.reconcile_every.unwrap_or(chosen)
    }

    /// Number of objects that the controller works on at once.
    pub(crate) fn concurrency(&self) -> usize {
        let mut flags = self.flags.iter();
        let given = flags.find(|flag| *flag == "--concurrency");
        let value = given.and_then(|_| flags.next()?.parse().ok());
        value.unwrap_or(32)
    }

    /// Number of namespaces for this number of objects.
    pub(crate) fn namespaces(&self, objects: usize) -> usize {
        self.namespaces.unwrap_or(objects.div_ceil(100)).min(objects)
    }
}

fn number(text: &str) -> Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be a number of at least 1".into()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(std::iter::once("bench").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_and_flags_of_the_controller() {
        let line = "--objects 1,100 --latency=5ms --environment MALLOC_ARENA_MAX=1 --environment=A=b=c -- --concurrency 8";
        let arguments = parse(line).unwrap();
        assert_eq!(arguments.objects(), [1, 100]);
        assert_eq!(arguments.latency, Duration::from_millis(5));
        assert_eq!(arguments.environment[1], ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(arguments.flags, ["--concurrency", "8"]);
        let help = parse("--objects 1 --help").unwrap_err();
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    }

    #[test]
    fn invalid_arguments_are_reported() {
        for (line, says) in [
            ("--objects 0", "a number of at least 1"),
            ("--objects", "a value is required"),
            ("--latency soon", "--latency"),
            ("--objectz 1", "unexpected argument '--objectz'"),
            ("--machines 10", "--subscriptions"),
            ("--machines 10,20 --subscriptions 1", "the same number of values"),
            ("--throttling perhaps", "--throttling"),
            ("--environment A", "must be NAME=VALUE"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.to_string().contains(says), "{line}: {error}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn only_selected_parts_run() {
        let runs = |line: &str| {
            let arguments = parse(line).unwrap();
            let numbers = [
                arguments.objects(),
                arguments.connectors(),
                arguments.at_rest(),
                arguments.largest(),
            ];
            (numbers.map(|part| part.len()), arguments.fleets())
        };
        assert_eq!(runs(""), ([3, 1, 0, 0], FLEETS.to_vec()));
        assert_eq!(runs("--objects 5"), ([1, 0, 0, 0], vec![]));
        let fleets = vec![Fleet::new(10, 1), Fleet::new(20, 2)];
        assert_eq!(
            runs("--machines 10,20 --subscriptions 1,2"),
            ([0, 0, 0, 0], fleets.clone())
        );
        assert_eq!(
            runs("--objects 5 --machines 10,20 --subscriptions 1,2"),
            ([1, 0, 0, 0], fleets)
        );
        assert_eq!(runs("--connectors 20"), ([0, 1, 0, 0], vec![]));
        assert_eq!(runs("--at-rest 10000"), ([0, 0, 1, 0], vec![]));
        assert_eq!(runs("--largest 200"), ([0, 0, 0, 1], vec![]));
    }

    #[test]
    fn options_of_connectors() {
        let arguments = parse("--connectors 20,40 --put-time 1s --throttling on -- --concurrency 8").unwrap();
        assert_eq!(arguments.connectors(), [20, 40]);
        assert_eq!(arguments.put_time, Duration::from_secs(1));
        assert!(arguments.throttling);
        assert_eq!(arguments.concurrency(), 8);
        let default = parse("").unwrap();
        assert_eq!((default.connectors(), default.concurrency()), (vec![200], 32));
        assert!(!default.throttling);
    }

    #[test]
    fn the_cadence_grows_with_the_objects() {
        let default = parse("").unwrap();
        let seconds = |objects| default.cadence(objects).as_secs();
        assert_eq!(
            [seconds(1), seconds(100), seconds(1000), seconds(5000)],
            [2, 10, 30, 150]
        );
    }
}
