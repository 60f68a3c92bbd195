//! The command line.

use std::{path::PathBuf, time::Duration};

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Measures what the controller costs: requests to Azure, time, memory, CPU. Starts its own kube-apiserver, etcd and Azure
emulator for each run; needs no cluster and no root.

  make bench                                   everything, about 18 minutes
  cargo run --release -p serverprotection-tests --bin bench -- --objects 1,100
  cargo run --release -p serverprotection-tests --bin bench -- --machines 10000 --subscriptions 100
  cargo run --release -p serverprotection-tests --bin bench -- --connectors 200

Objects: all objects are created before the controller starts, one for each Free subscription. The benchmark measures
the controller until all are Ready (converge), and then while each object is reconciled at least three times without
changes (quiet).

Machines: one identity, one object for each subscription, and machines in the subscriptions. The benchmark measures
the first scan, which confirms machines, and then two scans without changes. It first runs the same objects without
machines: the difference is the memory for machines.

Connectors: one subscription with its ServerProtection and this many connectors of AWS accounts, all created before the
controller starts; Azure takes time for each PUT. The benchmark measures until all are Ready, and requests reconciles of
the ServerProtection in the meantime. Then it restarts the controller, and each connector is reconciled six times without
changes. It first runs the same without connectors.

Options
  --objects N,N,…        numbers of objects (default 1,100,1000; none if another part is selected)
  --machines N,N,…       machines of each fleet (default 10000,100000,10000; none if another part is selected)
  --subscriptions N,N,…  subscriptions of each fleet (default 100,500,1000)
  --connectors N,N,…     connectors of one subscription (default 200; none if another part is selected)
  --put-time DURATION    time that Azure takes to write a connector (default 5s)
  --throttling on|off    whether Azure's budgets apply until connectors are Ready (default off: 100 reads in 5 minutes
                         would be the only thing that is measured)
  --latency DURATION     latency of every response of the emulator (default 50ms)
  --reconcile-every DURATION  interval of the quiet phase (default 2s for 1 object, 10s for 100, 30s for 1000)
  --namespaces N         namespaces, each with its own AzureCredential (default one for each 100 objects)
  --output FILE          write the figures as JSON (default target/bench.json)
  --date TEXT            date in the output (default now)
  --program FILE         another `serverprotection` to measure, for example one of an older commit
  --environment K=V      environment variable of the controller, for example MALLOC_ARENA_MAX=1; repeatable
  --keep-log FILE        copy the controller's log of the last run to this file
  -- FLAG …              more flags of the controller, for example --concurrency 64
  --help                 print this help

Exit codes: 0 if all counts are within their limits; 1 if a COUNT exceeds its limit (writes per needed change,
unneeded writes or status patches, reads per quiet reconcile, queries per scan, machines with a wrong verdict, requests
for the list of connectors, breaches of the safety monitor); 2 if the benchmark could not run. Times and memory depend on the
machine and never fail the run; the table shows them with their limits.
";

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Run(Box<Arguments>),
}

/// The machines of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) machines: u64,
    pub(crate) subscriptions: usize,
}

const FLEETS: [Fleet; 3] = [
    Fleet::new(10_000, 100),
    Fleet::new(100_000, 500),
    Fleet::new(10_000, 1000),
];

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

/// How to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) objects: Vec<usize>,
    pub(crate) fleets: Vec<Fleet>,
    pub(crate) connectors: Vec<usize>,
    pub(crate) put_time: Duration,
    pub(crate) throttling: bool,
    pub(crate) latency: Duration,
    pub(crate) reconcile_every: Option<Duration>,
    pub(crate) namespaces: Option<usize>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) date: Option<String>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) keep_log: Option<PathBuf>,
    pub(crate) flags: Vec<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            objects: vec![1, 100, 1000],
            fleets: FLEETS.to_vec(),
            connectors: vec![200],
            put_time: Duration::from_secs(5),
            throttling: false,
            latency: Duration::from_millis(50),
            reconcile_every: None,
            namespaces: None,
            output: None,
            date: None,
            program: None,
            environment: Vec::new(),
            keep_log: None,
            flags: Vec::new(),
        }
    }
}

impl Arguments {
    /// Parses the command line without the program's name.
    pub(crate) fn parse(given: impl IntoIterator<Item = String>) -> Result<Request, String> {
        let mut given = given.into_iter();
        let mut arguments = Self::default();
        let (mut objects, mut machines, mut subscriptions, mut connectors) = (None, None, None, None);
        while let Some(option) = given.next() {
            match option.as_str() {
                "--help" | "-h" => return Ok(Request::Help),
                "--" => {
                    arguments.flags = given.collect();
                    break;
                }
                _ => {}
            }
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (option.clone(), given.next()),
            };
            let value = value.ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--objects" => objects = Some(numbers(&name, &value)?),
                "--machines" => machines = Some(numbers(&name, &value)?),
                "--subscriptions" => subscriptions = Some(numbers(&name, &value)?),
                "--connectors" => connectors = Some(numbers(&name, &value)?),
                _ => arguments.set(&name, value)?,
            }
        }
        let fleets = fleets(machines, subscriptions)?;
        arguments.choose(objects, fleets, connectors);
        Ok(Request::Run(Box::new(arguments)))
    }

    /// What to run: everything, or what was named.
    fn choose(
        &mut self,
        objects: Option<Vec<usize>>,
        fleets: Option<Vec<Fleet>>,
        connectors: Option<Vec<usize>>,
    ) {
        if objects.is_some() || fleets.is_some() || connectors.is_some() {
            self.objects = objects.unwrap_or_default();
            self.fleets = fleets.unwrap_or_default();
            self.connectors = connectors.unwrap_or_default();
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let wrong = |why: &str| format!("{name} {value}: {why}");
        let duration = || humantime::parse_duration(&value).map_err(|error| wrong(&error.to_string()));
        match name {
            "--latency" => self.latency = duration()?,
            "--put-time" => self.put_time = duration()?,
            "--throttling" => {
                self.throttling = match value.as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return Err(wrong("must be on or off")),
                }
            }
            "--reconcile-every" => self.reconcile_every = Some(duration()?),
            "--namespaces" => self.namespaces = Some(number(name, &value)?),
            "--output" => self.output = Some(value.into()),
            "--date" => self.date = Some(value),
            "--program" => self.program = Some(value.into()),
            "--keep-log" => self.keep_log = Some(value.into()),
            "--environment" => {
                let pair = value.split_once('=').ok_or_else(|| wrong("must be NAME=VALUE"))?;
                self.environment.push((pair.0.to_owned(), pair.1.to_owned()));
            }
            _ => return Err(format!("unknown option {name}")),
        }
        Ok(())
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

fn fleets(
    machines: Option<Vec<usize>>,
    subscriptions: Option<Vec<usize>>,
) -> Result<Option<Vec<Fleet>>, String> {
    match (machines, subscriptions) {
        (None, None) => Ok(None),
        (Some(machines), Some(subscriptions)) if machines.len() == subscriptions.len() => {
            let fleets = machines.into_iter().zip(subscriptions);
            let machines = |number| u64::try_from(number).unwrap_or(u64::MAX);
            Ok(Some(
                fleets
                    .map(|(of, among)| Fleet::new(machines(of), among))
                    .collect(),
            ))
        }
        _ => {
            Err("--machines and --subscriptions must be used together, with the same number of values".into())
        }
    }
}

fn number(option: &str, text: &str) -> Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{option} {text}: must be a number of at least 1")),
    }
}

fn numbers(option: &str, text: &str) -> Result<Vec<usize>, String> {
    text.split(',').map(|part| number(option, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_and_flags_of_the_controller() {
        let Ok(Request::Run(arguments)) = parse(
            "--objects 1,100 --latency=5ms --environment MALLOC_ARENA_MAX=1 --environment=A=b=c -- --concurrency 8",
        ) else {
            panic!()
        };
        assert_eq!(arguments.objects, [1, 100]);
        assert_eq!(arguments.latency, Duration::from_millis(5));
        assert_eq!(arguments.environment[1], ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(arguments.flags, ["--concurrency", "8"]);
        assert_eq!(parse("--objects 1 --help"), Ok(Request::Help));
    }

    #[test]
    fn invalid_arguments_are_reported() {
        for (line, says) in [
            ("--objects 0", "a number of at least 1"),
            ("--objects", "needs a value"),
            ("--latency soon", "--latency soon"),
            ("--objectz 1", "unknown option --objectz"),
            ("--machines 10", "must be used together"),
            ("--machines 10,20 --subscriptions 1", "must be used together"),
            ("--throttling perhaps", "on or off"),
        ] {
            assert!(parse(line).unwrap_err().contains(says), "{line}");
        }
    }

    #[test]
    fn only_selected_parts_run() {
        let runs = |line: &str| match parse(line) {
            Ok(Request::Run(arguments)) => (arguments.objects.len(), arguments.fleets),
            other => panic!("{other:?}"),
        };
        assert_eq!(runs(""), (3, FLEETS.to_vec()));
        assert_eq!(runs("--objects 5"), (1, vec![]));
        let fleets = vec![Fleet::new(10, 1), Fleet::new(20, 2)];
        assert_eq!(runs("--machines 10,20 --subscriptions 1,2"), (0, fleets.clone()));
        assert_eq!(
            runs("--objects 5 --machines 10,20 --subscriptions 1,2"),
            (1, fleets)
        );
        assert_eq!(runs("--connectors 20"), (0, vec![]));
    }

    #[test]
    fn options_of_connectors() {
        let Ok(Request::Run(arguments)) =
            parse("--connectors 20,40 --put-time 1s --throttling on -- --concurrency 8")
        else {
            panic!()
        };
        assert_eq!(arguments.connectors, [20, 40]);
        assert_eq!(arguments.put_time, Duration::from_secs(1));
        assert!(arguments.throttling);
        assert_eq!(arguments.concurrency(), 8);
        let default = Arguments::default();
        assert_eq!(
            (default.connectors.as_slice(), default.concurrency()),
            (&[200][..], 32)
        );
    }

    #[test]
    fn the_cadence_grows_with_the_objects() {
        let seconds = |objects| Arguments::default().cadence(objects).as_secs();
        assert_eq!(
            [seconds(1), seconds(100), seconds(1000), seconds(5000)],
            [2, 10, 30, 150]
        );
    }
}
