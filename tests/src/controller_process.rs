//! The controller as a process of its own, so that tests can kill, freeze and measure it as in production.

use crate::{
    binaries,
    emulator::Emulator,
    error::{Error, io},
    process::Process,
    users::CONTROLLER_NAMESPACE,
    wait::{eventually, retry},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::Command;

/// The counter of status writes, and its name in older versions.
const STATUS_WRITES: [&str; 2] = [
    "serverprotection_status_writes_total",
    "serverprotection_status_patches_total",
];

/// The process writes without a Lease.
const NO_ELECTION: &str = "--no-leader-election";

/// Options of a controller.
#[derive(Clone, Debug, Default)]
pub struct ControllerOptions {
    /// More flags, such as `["--watch-namespace", "tests-1"]`.
    pub flags: Vec<String>,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
    /// Takes part in an election. `None`: the process writes without a Lease.
    pub replica: Option<Replica>,
    /// Path of another program, such as an older version. The default is the program next to the test.
    pub program: Option<PathBuf>,
}

impl ControllerOptions {
    /// Options with these additional flags.
    pub fn flags(flags: &[&str]) -> Self {
        Self {
            flags: flags.iter().map(|&f| f.to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// How a controller takes part in an election.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The namespace of the Lease.
    pub lease_namespace: String,
    /// The duration of the Lease, and how long a leader that cannot renew it still writes.
    pub times: [Duration; 2],
}

impl Replica {
    /// With the default times, in the controller's own namespace.
    pub fn standard() -> Self {
        Self {
            lease_namespace: CONTROLLER_NAMESPACE.into(),
            times: [Duration::from_secs(15), Duration::from_secs(10)],
        }
    }

    fn flags(&self) -> Vec<String> {
        let [duration, deadline] = self.times.map(|time| format!("{}ms", time.as_millis()));
        let retry = format!("{}ms", self.times[1].as_millis() / 5);
        let flags = [
            ("--lease-namespace", self.lease_namespace.clone()),
            ("--lease-duration", duration),
            ("--lease-renew-deadline", deadline),
            ("--lease-retry-period", retry),
        ];
        flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect()
    }
}

/// Whether the help of another program names this flag.
fn knows(program: &Path, flag: &str) -> bool {
    let help = std::process::Command::new(program)
        .args(["controller", "--help"])
        .output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(flag))
}

/// A running controller.
#[derive(Debug)]
pub struct ControllerProcess {
    process: Process,
    address: Option<String>,
    /// Where the log of this start begins. A restarted controller appends to the same file.
    log_from: usize,
}

impl ControllerProcess {
    /// Starts `serverprotection controller` with an emulator and a kubeconfig. The log is written to `log`.
    pub fn start(
        kubeconfig: &Path,
        emulator: &Emulator,
        log: &Path,
        options: &ControllerOptions,
    ) -> Result<Self, Error> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => binaries::ours("serverprotection")?,
        };
        let election = match (&options.replica, &options.program) {
            (Some(replica), _) => replica.flags(),
            // Version 0.1.0 does not know the flag.
            (None, Some(program)) if !knows(program, NO_ELECTION) => Vec::new(),
            (None, _) => vec![NO_ELECTION.to_owned()],
        };
        let mut command = Command::new(program);
        command
            .args(["controller", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--resource-manager-endpoint", emulator.endpoint()])
            .args(["--authority-host", emulator.endpoint()])
            .args(["--audience", emulator.endpoint(), "--extra-ca"])
            .arg(emulator.ca())
            .args(election)
            .args(&options.flags)
            .env("KUBECONFIG", kubeconfig)
            // A proxy of the environment is not for servers on this machine.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs(options.environment.iter().map(|(k, v)| (k, v)));
        let log_from = std::fs::metadata(log).map_or(0, |m| usize::try_from(m.len()).unwrap_or(0));
        let process = Process::spawn("serverprotection controller", command, log, false)?;
        Ok(Self {
            process,
            address: None,
            log_from,
        })
    }

    /// Waits until `/readyz` answers 200. Fails early if the process has ended.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<(), Error> {
        let ready = retry(limit, Duration::from_millis(50), || {
            let (exited, address) = (self.process.exited(), self.address());
            async move {
                match exited {
                    Some(status) => Ok(Err(status)),
                    None => get(address, "readyz", "*/*").await.map(|_| Ok(())),
                }
            }
        })
        .await;
        let reason = match ready {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(status)) => format!("ended with {status} before it was ready"),
            Err(last) => format!("was not ready after {limit:?}: {last}"),
        };
        Err(self.process.failure(reason))
    }

    /// `http://ADDR` of the health and metrics server, once it is in the log.
    pub fn address(&mut self) -> Option<String> {
        if self.address.is_none() {
            let log = self.log();
            self.address = parse_address(&log).map(|a| format!("http://{a}"));
        }
        self.address.clone()
    }

    /// The body of a path of the HTTP server, if it answers 200.
    pub async fn get(&mut self, path: &str) -> Result<String, Error> {
        get(self.address(), path, "*/*").await.map(|(_, text)| text)
    }

    /// The metrics page.
    pub async fn metrics(&mut self) -> Result<String, Error> {
        self.get("metrics").await
    }

    /// The Content-Type and the text of the metrics page, as this client accepts them.
    pub async fn metrics_as(&mut self, accept: &str) -> Result<(String, String), Error> {
        get(self.address(), "metrics", accept).await
    }

    /// The sum of all series of a metric whose labels contain every given text; `None` when there is no such series.
    pub async fn metric(&mut self, name: &str, labels: &[&str]) -> Result<Option<f64>, Error> {
        Ok(sum(&self.metrics().await?, name, labels))
    }

    /// Number of status writes so far.
    ///
    /// # Errors
    ///
    /// Fails if the page has no such counter, so that a renamed metric does not look like a quiet controller.
    pub async fn status_writes(&mut self) -> Result<f64, Error> {
        let page = self.metrics().await?;
        let mut counters = STATUS_WRITES.into_iter().filter_map(|name| sum(&page, name, &[]));
        counters
            .next()
            .ok_or_else(|| Error::Other(format!("no counter of status writes: {STATUS_WRITES:?}")))
    }

    /// The log since this start.
    pub fn log(&self) -> String {
        let text = self.process.log_text();
        text.get(self.log_from..).unwrap_or_default().to_owned()
    }

    /// Waits until the log since this start contains `text`.
    pub async fn wait_for_log(&self, text: &str, limit: Duration) -> Result<(), Error> {
        eventually(&format!("{text:?} in the controller's log"), limit, || {
            let log = self.log();
            let last = log.lines().last().unwrap_or_default().to_owned();
            std::future::ready(if log.contains(text) { Ok(()) } else { Err(last) })
        })
        .await
    }

    /// The process id.
    pub fn id(&self) -> i32 {
        self.process.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.exited().is_none()
    }

    /// Fails with the end of the log if the process has ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.process.exited() {
            Some(status) => Err(self.process.failure(format!("ended with {status}"))),
            None => Ok(()),
        }
    }

    /// Kills the process (SIGKILL), like a power failure of the node.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Sends SIGTERM and returns the exit code. Fails if the process had to be killed after 20 s.
    pub async fn terminate(&mut self) -> Result<Option<i32>, Error> {
        match self.process.stop(Duration::from_secs(20)).await {
            Some(status) => Ok(status.code()),
            None => Err(self.process.failure("did not end within 20 s of SIGTERM")),
        }
    }

    /// Like `terminate`, for a controller that a test may have killed already.
    pub async fn terminate_if_running(&mut self) -> Result<(), Error> {
        if self.is_running() {
            self.terminate().await.map(drop)
        } else {
            Ok(())
        }
    }

    /// Freezes the process (SIGSTOP).
    pub fn pause(&self) -> Result<(), Error> {
        self.process.pause()
    }

    /// Resumes the process (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.process.resume()
    }

    /// Current memory and CPU time of the process.
    pub fn usage(&self) -> Result<Usage, Error> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.id());
            std::fs::read_to_string(&path).map_err(io(format!("read {path}")))
        };
        Usage::parse(&read("status")?, &read("stat")?)
            .ok_or_else(|| Error::Other("cannot read the process's status".into()))
    }
}

/// Memory and CPU of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory now (`VmRSS`), in bytes.
    pub resident: u64,
    /// Peak resident memory (`VmHWM`), in bytes.
    pub peak: u64,
    /// User and system time so far.
    pub cpu: Duration,
}

impl Usage {
    fn parse(status: &str, stat: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            Some(
                line.trim_start_matches(':')
                    .trim()
                    .trim_end_matches("kB")
                    .trim()
                    .parse::<u64>()
                    .ok()?
                    * 1024,
            )
        };
        // Fields after the name in parentheses, which may contain spaces: 3 is the state, 14 and 15 are the times.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks = ticks()? + ticks()?;
        // `USER_HZ` is 100 on every Linux that Rust supports.
        Some(Self {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
            cpu: Duration::from_millis(ticks * 10),
        })
    }
}

/// The Content-Type and the body of a path, as this client accepts them. `address` is known once it is in the log.
async fn get(address: Option<String>, path: &str, accept: &str) -> Result<(String, String), Error> {
    let address = address.ok_or_else(|| Error::Other("the log does not contain its address".into()))?;
    // reqwest needs a provider even for plain HTTP.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()?;
    let request = http.get(format!("{address}/{path}"));
    let answer = request.header("accept", accept).send().await?;
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type");
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let text = answer.text().await?;
    if status == 200 {
        Ok((content_type, text))
    } else {
        Err(Error::Other(format!("/{path} answered {status}: {text}")))
    }
}

fn parse_address(log: &str) -> Option<String> {
    let after = log.split_once("serving health and metrics on http://")?.1;
    let end = after
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c)))
        .unwrap_or(after.len());
    // A line that is still being written has no end yet.
    (end < after.len()).then(|| after.get(..end).unwrap_or_default().to_owned())
}

fn sum(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (series, value) = match rest.strip_prefix('{') {
                Some(inner) => inner.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let value = value.split_whitespace().next()?.parse::<f64>().ok()?;
            labels.iter().all(|l| series.contains(l)).then_some(value)
        })
        .reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_in_either_log_format() {
        let json = "{\"message\":\"serving health and metrics on http://127.0.0.1:8080\"}\n";
        assert_eq!(parse_address(json).as_deref(), Some("127.0.0.1:8080"));
        let human = "INFO serving health and metrics on http://[::1]:99 since=1\n";
        assert_eq!(parse_address(human).as_deref(), Some("[::1]:99"));
        assert_eq!(
            parse_address("serving health and metrics on http://127.0.0.1:80"),
            None
        );
    }

    #[test]
    fn metrics_are_summed_over_their_series() {
        let page =
            "# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\"} 4\na_total_more 9\nb 1.5\n";
        assert_eq!(sum(page, "a_total", &[]), Some(7.0));
        assert_eq!(sum(page, "a_total", &["x=\"1\""]), Some(3.0));
        assert_eq!(sum(page, "b", &[]), Some(1.5));
        assert_eq!(sum(page, "c", &[]), None);
    }

    #[test]
    fn usage_of_a_process_with_a_difficult_name() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        let usage = Usage::parse("VmHWM:\t 200 kB\nVmRSS:\t 100 kB\n", stat).unwrap();
        assert_eq!(
            usage,
            Usage {
                resident: 102_400,
                peak: 204_800,
                cpu: Duration::from_secs(2)
            }
        );
    }
}
