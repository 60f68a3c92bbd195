//! The command line.

use std::{path::PathBuf, time::Duration};

/// What `--help` says.
pub(crate) const HELP: &str = "\
What the controller costs: requests to Azure, time, memory, CPU. Starts its own kube-apiserver, etcd and Azure
emulator for each size; needs no cluster and no root.

  make bench                                   everything, about 4 minutes
  cargo run --release -p serverprotection-tests --bin bench -- --objects 1,100

How a size goes: all objects are created while no controller runs, one for each Free subscription. Then the controller
starts and is measured until all are Ready (converge), and after that while each is visited at least three times
without anything to do (quiet).

Options
  --objects N,N,…        sizes to run, in this order (1,100,1000)
  --latency DURATION     added by the emulator to every answer (50ms)
  --visit-every DURATION cadence of the quiet phase (2s for one object, 10s for 100, 30s for 1000)
  --namespaces N         namespaces, each with its own AzureCredential (one for each 100 objects)
  --output FILE          the figures as JSON (target/bench.json)
  --date TEXT            what to write down as the date (the clock's)
  --program FILE         another `serverprotection` to measure, such as one of an older commit
  --environment K=V      an environment variable of the controller, such as MALLOC_ARENA_MAX=1; repeatable
  --keep-log FILE        copies the controller's log of the last size there
  -- FLAG …              further flags of the controller, such as --concurrency 64
  --help                 this

Exit code: 0; 1 when a bar of COUNTS is broken (writes per needed change, writes or status patches without need, reads
of a quiet visit, breaches of the safety monitor); 2 when it could not be run. Times and memory never fail it: they
depend on the machine, and stand beside their bars to be read.
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Run(Box<Arguments>),
}

/// How to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) objects: Vec<usize>,
    pub(crate) latency: Duration,
    pub(crate) visit_every: Option<Duration>,
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
            latency: Duration::from_millis(50),
            visit_every: None,
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
            arguments.set(&name, value)?;
        }
        Ok(Request::Run(Box::new(arguments)))
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let wrong = |why: &str| format!("{name} {value}: {why}");
        let duration = || humantime::parse_duration(&value).map_err(|error| wrong(&error.to_string()));
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(wrong("a number from 1 is wanted")),
        };
        match name {
            "--objects" => self.objects = value.split(',').map(number).collect::<Result<_, _>>()?,
            "--latency" => self.latency = duration()?,
            "--visit-every" => self.visit_every = Some(duration()?),
            "--namespaces" => self.namespaces = Some(number(&value)?),
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
        self.visit_every.unwrap_or(chosen)
    }

    /// Namespaces for so many objects.
    pub(crate) fn namespaces(&self, objects: usize) -> usize {
        self.namespaces.unwrap_or(objects.div_ceil(100)).min(objects)
    }
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
    fn mistakes_are_told() {
        for (line, says) in [
            ("--objects 0", "a number from 1"),
            ("--objects", "needs a value"),
            ("--latency soon", "--latency soon"),
            ("--objectz 1", "no option --objectz"),
        ] {
            assert!(parse(line).unwrap_err().contains(says), "{line}");
        }
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
