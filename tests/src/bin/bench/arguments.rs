//! The command line.

use std::{path::PathBuf, time::Duration};

/// What `--help` says.
pub(crate) const HELP: &str = "\
What the controller costs: requests to Azure, time, memory, CPU. Starts its own kube-apiserver, etcd and Azure
emulator for each size; needs no cluster and no root.

  make bench                                   everything, about 18 minutes
  cargo run --release -p serverprotection-tests --bin bench -- --objects 1,100
  cargo run --release -p serverprotection-tests --bin bench -- --machines 10000 --subscriptions 100
  cargo run --release -p serverprotection-tests --bin bench -- --connectors 200

How a size goes: all objects are created while no controller runs, one for each Free subscription. Then the controller
starts and is measured until all are Ready (converge), and after that while each is visited at least three times
without anything to do (quiet).

How a fleet goes: one identity, an object for each subscription, machines behind them. The first scan with everything
that it confirms is measured, and then two scans that find what is known. Before it the same objects without machines
run once: what machines take of memory is the difference.

How connectors go: one subscription with its object, and that many connectors of AWS accounts, all created while no
controller runs; Azure takes its time for each PUT. It is measured until all are Ready, while visits of the
subscription's object are asked for; then the controller is started anew, and each connector is visited six times
without anything to do. Before it the same runs once without connectors.

Options
  --objects N,N,…        sizes to run, in this order (1,100,1000; none when another part is named)
  --machines N,N,…       fleets to run after them (10000,100000,10000; none when another part is named)
  --subscriptions N,N,…  subscriptions of each fleet (100,500,1000)
  --connectors N,N,…     connectors of one subscription to run after them (200; none when another part is named)
  --put-time DURATION    what Azure takes to write a connector (5s)
  --throttling on|off    whether Azure's budgets refuse anything until connectors are Ready (off: with 100 reads in
                         5 minutes they alone say how long it takes)
  --latency DURATION     added by the emulator to every answer (50ms)
  --reconcile-every DURATION cadence of the quiet phase (2s for one object, 10s for 100, 30s for 1000)
  --namespaces N         namespaces, each with its own AzureCredential (one for each 100 objects)
  --output FILE          the figures as JSON (target/bench.json)
  --date TEXT            what to write down as the date (the clock's)
  --program FILE         another `serverprotection` to measure, such as one of an older commit
  --environment K=V      an environment variable of the controller, such as MALLOC_ARENA_MAX=1; repeatable
  --keep-log FILE        copies the controller's log of the last size there
  -- FLAG …              further flags of the controller, such as --concurrency 64
  --help                 this

Exit code: 0; 1 when a bar of COUNTS is broken (writes per needed change, writes or status patches without need, reads
of a quiet visit, queries of a scan, machines miscounted, lists of connectors, breaches of the safety monitor); 2 when it could not be run. Times and memory never fail it: they
depend on the machine, and stand beside their bars to be read.
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Run(Box<Arguments>),
}

/// Machines of one identity.
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

    /// Between the beginnings of two scans: longer than one takes, so that nothing overlaps.
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
    /// Reads the command line without the program's name.
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

    /// What runs: all of it, or what was named.
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
                    _ => return Err(wrong("on or off is wanted")),
                }
            }
            "--reconcile-every" => self.reconcile_every = Some(duration()?),
            "--namespaces" => self.namespaces = Some(number(name, &value)?),
            "--output" => self.output = Some(value.into()),
            "--date" => self.date = Some(value),
            "--program" => self.program = Some(value.into()),
            "--keep-log" => self.keep_log = Some(value.into()),
            "--environment" => {
                let pair = value
                    .split_once('=')
                    .ok_or_else(|| wrong("NAME=VALUE is wanted"))?;
                self.environment.push((pair.0.to_owned(), pair.1.to_owned()));
            }
            _ => return Err(format!("there is no option {name}")),
        }
        Ok(())
    }

    /// The quiet phase's cadence: long enough that the first objects are not visited again while the last ones still
    /// converge.
    pub(crate) fn cadence(&self, objects: usize) -> Duration {
        let objects = u32::try_from(objects).unwrap_or(u32::MAX);
        let each = Duration::from_millis(80).saturating_mul(objects);
        let short = (Duration::from_secs(2) + each).min(Duration::from_secs(30));
        let chosen = short.max(Duration::from_millis(30).saturating_mul(objects));
        self.reconcile_every.unwrap_or(chosen)
    }

    /// Objects that the controller works on at once.
    pub(crate) fn concurrency(&self) -> usize {
        let mut flags = self.flags.iter();
        let given = flags.find(|flag| *flag == "--concurrency");
        let value = given.and_then(|_| flags.next()?.parse().ok());
        value.unwrap_or(32)
    }

    /// Namespaces for so many objects.
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
        _ => Err("--machines and --subscriptions belong together, as many of the one as of the other".into()),
    }
}

fn number(option: &str, text: &str) -> Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{option} {text}: a number from 1 is wanted")),
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
    fn mistakes_are_reported() {
        for (line, says) in [
            ("--objects 0", "a number from 1"),
            ("--objects", "needs a value"),
            ("--latency soon", "--latency soon"),
            ("--objectz 1", "no option --objectz"),
            ("--machines 10", "belong together"),
            ("--machines 10,20 --subscriptions 1", "belong together"),
            ("--throttling perhaps", "on or off"),
        ] {
            assert!(parse(line).unwrap_err().contains(says), "{line}");
        }
    }

    #[test]
    fn what_is_named_runs_alone() {
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
    fn connectors_and_what_their_run_depends_on() {
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
