//! Start and stop: TLS, the listener, the state file.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{Handle, accept::NoDelayAcceptor, tls_rustls::RustlsConfig};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::task::JoinHandle;

use crate::{
    certificates, control,
    emulator::Emulator,
    entra::Signer,
    handler,
    state::{Seed, World},
    switches::Switches,
};

/// How to start the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 selects a free port.
    pub listen: SocketAddr,
    /// Keys and certificates.
    pub certificates: PathBuf,
    /// Additional names in the certificate.
    pub names: Vec<String>,
    /// State file to load and save.
    pub state: Option<PathBuf>,
    /// Seed document to apply at start.
    pub seed: Option<String>,
    /// Answers of the switches.
    pub switches: Switches,
    /// Latency added to each response.
    pub latency: Duration,
    /// The base of URLs in documents.
    pub issuer_url: Option<String>,
    /// Address on which managed identities get tokens over plain HTTP; `None` for none.
    pub identity_listen: Option<SocketAddr>,
    /// What requests to the endpoint of App Service must have in the header `X-IDENTITY-HEADER`.
    pub identity_header: String,
}

/// The default of [`Options::identity_header`].
pub const IDENTITY_HEADER: &str = "emulated-identity-header";

impl Options {
    /// Options for tests: a free port on loopback.
    pub fn new(certificates: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificates,
            names: Vec::new(),
            state: None,
            seed: None,
            switches: Switches::default(),
            latency: Duration::ZERO,
            issuer_url: None,
            identity_listen: None,
            identity_header: IDENTITY_HEADER.into(),
        }
    }
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys or certificates.
    #[error(transparent)]
    Certificates(#[from] certificates::CertificateError),
    /// The listener, or the state file.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// TLS rejects the keys.
    #[error("TLS: {0}")]
    Tls(String),
    /// The seed or the state file is invalid.
    #[error("{0}: {1}")]
    Document(String, String),
}

/// A running server.
#[expect(missing_debug_implementations, reason = "it holds keys and secrets")]
pub struct Server {
    /// Address on which it listens.
    pub address: SocketAddr,
    /// Address on which managed identities get tokens.
    pub identity_address: Option<SocketAddr>,
    /// The CA's certificate, PEM.
    pub ca: String,
    /// Path of the file with the CA's certificate.
    pub ca_path: PathBuf,
    /// The emulator that it serves.
    pub emulator: Arc<Emulator>,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<io::Result<()>>,
    saving: JoinHandle<()>,
    state: Option<PathBuf>,
}

impl Server {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// Fails if the keys, the listener, the state file or the seed cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        // Fails if another server of this process has already installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificates = certificates::prepare(&options.certificates, &options.names)?;
        let listener = TcpListener::bind(options.listen)
            .map_err(|error| StartError::Io(options.listen.to_string(), error))?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError::Io("listener".into(), error))?;
        let signer =
            Signer::new(&certificates.token_key).map_err(|error| StartError::Tls(error.to_string()))?;
        let world = world(&options)?;
        let own_url = format!("https://{address}");
        let emulator = Arc::new(Emulator::new(
            world,
            signer,
            options.issuer_url,
            options.identity_header,
            own_url,
        ));
        let handle = Handle::new();
        let identity_address = match options.identity_listen {
            Some(address) => Some(serve_machine(&emulator, address)?),
            None => None,
        };
        let server = axum_server::from_tcp_rustls(listener, tls(&certificates)?)
            .map_err(|error| StartError::Io("listener".into(), error))?
            // Otherwise responses on a connection with several requests wait 40 ms for an acknowledgement.
            .map(|tls| tls.acceptor(NoDelayAcceptor::new()))
            .handle(handle.clone());
        let router: Router = control::routes()
            .fallback(handler::serve)
            .with_state(Arc::clone(&emulator));
        let serving = tokio::spawn(async move { server.serve(router.into_make_service()).await });
        let saving = tokio::spawn(save_regularly(Arc::clone(&emulator), options.state.clone()));
        handle.listening().await;
        let ca_path = options.certificates.join("ca.pem");
        Ok(Self {
            address,
            identity_address,
            ca: certificates.ca,
            ca_path,
            emulator,
            handle,
            serving,
            saving,
            state: options.state,
        })
    }

    /// Stops within a second; open requests have half of that to finish.
    ///
    /// # Errors
    ///
    /// Fails if the state file cannot be written.
    pub async fn stop(self) -> Result<(), StartError> {
        self.saving.abort();
        self.handle.graceful_shutdown(Some(Duration::from_millis(500)));
        let _ = tokio::time::timeout(Duration::from_millis(900), self.serving).await;
        match &self.state {
            Some(path) => {
                save(&self.emulator, path).map_err(|error| StartError::Io(path.display().to_string(), error))
            }
            None => Ok(()),
        }
    }
}

/// Serves managed identities over plain HTTP, as a machine does, until the process ends.
fn serve_machine(emulator: &Arc<Emulator>, address: SocketAddr) -> Result<SocketAddr, StartError> {
    let problem = |error| StartError::Io(address.to_string(), error);
    let listener = TcpListener::bind(address).map_err(problem)?;
    let bound = listener.local_addr().map_err(problem)?;
    let server = axum_server::from_tcp(listener).map_err(problem)?;
    let router: Router = Router::new()
        .fallback(handler::serve_machine)
        .with_state(Arc::clone(emulator));
    tokio::spawn(async move { server.serve(router.into_make_service()).await });
    Ok(bound)
}

fn tls(certificates: &certificates::Certificates) -> Result<RustlsConfig, StartError> {
    let problem = |error: &dyn std::fmt::Display| StartError::Tls(error.to_string());
    let chain: Vec<_> = [&certificates.certificate, &certificates.ca]
        .into_iter()
        .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|error| problem(&error))?;
    let key = PrivateKeyDer::from_pem_slice(certificates.key.as_bytes()).map_err(|error| problem(&error))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| problem(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

/// The saved world or a new one, with the seed and the options applied.
fn world(options: &Options) -> Result<World, StartError> {
    let seed = options
        .seed
        .as_deref()
        .map(|document| Seed::parse(document).map_err(|problem| StartError::Document("seed".into(), problem)))
        .transpose()?;
    let saved = options.state.as_deref().map(load).transpose()?.flatten();
    let mut world = saved.unwrap_or_else(|| {
        if seed.as_ref().is_some_and(|seed| seed.defaults == Some(false)) {
            World::default()
        } else {
            World::with_defaults()
        }
    });
    // Restore from the world what is not saved with each subscription.
    world.retime(Timestamp::now());
    if options.switches != Switches::default() {
        world.switches = options.switches.clone();
        world.retime(Timestamp::now());
    }
    if !options.latency.is_zero() {
        world.knobs.latency = options.latency;
    }
    if let Some(seed) = &seed {
        seed.populate(&mut world, Timestamp::now())
            .map_err(|problem| StartError::Document("seed".into(), problem))?;
    }
    Ok(world)
}

fn load(path: &Path) -> Result<Option<World>, StartError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StartError::Document(path.display().to_string(), error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::Io(path.display().to_string(), error)),
    }
}

async fn save_regularly(emulator: Arc<Emulator>, path: Option<PathBuf>) {
    let Some(path) = path else { return };
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if emulator.take_changed()
            && let Err(error) = save(&emulator, &path)
        {
            tracing::error!(%error, path = %path.display(), "cannot save the state file");
        }
    }
}

/// Writes to a temporary file and renames it, so that a crash leaves the old state or the new one.
fn save(emulator: &Emulator, path: &Path) -> io::Result<()> {
    let document = serde_json::to_vec(&*emulator.world.lock())?;
    let temporary = path.with_extension("new");
    fs::write(&temporary, document)?;
    fs::rename(&temporary, path)
}
