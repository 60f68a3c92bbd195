//! `azure-emulator serve`.

use std::{
    fs,
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    server::{Options, Server},
    switches::Switches,
};

/// Serve Entra, ARM and the control endpoint over HTTPS.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Directory for CA, keys and certificates; an existing CA is used again. Clients trust DIR/ca.pem.
    #[arg(long, value_name = "DIR")]
    certificates: PathBuf,
    /// One more DNS name or address in the certificate. Repeatable.
    #[arg(long = "san", value_name = "NAME")]
    names: Vec<String>,
    /// Load the cloud from this file, and save it there.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Seed document (YAML or JSON), see docs/emulator.md.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Latency of each answer.
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Base of the URLs in metadata documents; default: what the client's Host header says.
    #[arg(long, value_name = "URL")]
    issuer_url: Option<String>,
    /// All switches at once.
    #[arg(long, value_parser = ["default", "alternate"], default_value = "default")]
    switches: String,
    /// One switch, for example omittedExtensions=defaults. Repeatable.
    #[arg(long = "switch", value_name = "NAME=ANSWER")]
    each: Vec<String>,
}

/// Escape codes are for terminals, unless `NO_COLOR` is set (no-color.org).
fn colored() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Serve {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(colored())
            .with_env_filter(
                tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
            )
            .init();
        // Before the server says that it is ready: whoever waits for that may stop it at once.
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let server = Server::start(self.options()?)
            .await
            .map_err(|error| error.to_string())?;
        announce(&server);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        server.stop().await.map_err(|error| error.to_string())?;
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self) -> Result<Options, String> {
        let mut switches = Switches::default();
        switches.set_all(&self.switches)?;
        for each in &self.each {
            let (name, answer) = each
                .split_once('=')
                .ok_or_else(|| format!("--switch {each}: write NAME=ANSWER"))?;
            switches.set(name, answer)?;
        }
        let seed = self
            .seed
            .as_ref()
            .map(|path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display())))
            .transpose()?;
        Ok(Options {
            listen: self.listen,
            certificates: self.certificates.clone(),
            names: self.names.clone(),
            state: self.state.clone(),
            seed,
            switches,
            latency: self.latency,
            issuer_url: self.issuer_url.clone(),
        })
    }
}

/// The one line on standard output: scripts wait for it. Nobody may be listening.
fn announce(server: &Server) {
    let mut out = std::io::stdout();
    let line = format!(
        "listening on https://{} ca {}\n",
        server.address,
        server.ca_path.display()
    );
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
