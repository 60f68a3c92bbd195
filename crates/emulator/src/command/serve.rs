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
    server::{IDENTITY_HEADER, Options, Server},
    switches::Switches,
};

/// Serve Entra, ARM and the control endpoint over HTTPS.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on; port 0 selects a free port.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Directory of the CA and the keys; an existing CA is reused. Clients trust DIR/ca.pem.
    #[arg(long, value_name = "DIR")]
    certificates: PathBuf,
    /// Additional DNS name or IP address in the certificate. Repeatable.
    #[arg(long = "san", value_name = "NAME")]
    names: Vec<String>,
    /// File to load the cloud from and to save it to.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Seed document (YAML or JSON); see docs/emulator.md.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Latency added to each response.
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Base of the URLs in metadata documents; by default the Host header of the request.
    #[arg(long, value_name = "URL")]
    issuer_url: Option<String>,
    /// Address on which managed identities get tokens over plain HTTP, for example 127.0.0.1:0 or 169.254.169.254:80
    /// [default: none].
    #[arg(long, value_name = "ADDRESS")]
    identity_listen: Option<SocketAddr>,
    /// The header X-IDENTITY-HEADER that clients of /msi/token, the endpoint of App Service, must send.
    #[arg(long, value_name = "VALUE", default_value = IDENTITY_HEADER)]
    identity_header: String,
    /// Answer of all switches.
    #[arg(long, value_parser = ["default", "alternate"], default_value = "default")]
    switches: String,
    /// Answer of one switch, for example omittedExtensions=defaults. Repeatable.
    #[arg(long = "switch", value_name = "NAME=ANSWER")]
    each: Vec<String>,
}

/// ANSI colors only on a terminal, and not if `NO_COLOR` is set (no-color.org).
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
        // Install the handler before the ready line: a script may send SIGTERM right after it.
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
                .ok_or_else(|| format!("--switch {each}: expected NAME=ANSWER"))?;
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
            identity_listen: self.identity_listen,
            identity_header: self.identity_header.clone(),
        })
    }
}

/// Prints the ready line, for which scripts wait. A closed standard output is not an error.
fn announce(server: &Server) {
    let mut out = std::io::stdout();
    let identity = server.identity_address;
    let identity = identity.map_or_else(String::new, |address| format!(" identity http://{address}"));
    let line = format!(
        "listening on https://{} ca {}{identity}\n",
        server.address,
        server.ca_path.display()
    );
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
