//! A real etcd and kube-apiserver on free ports of 127.0.0.1, started and stopped in the right order.

use crate::{
    apply::Kubectl,
    binaries,
    error::{Error, io},
    helm::Helm,
    process::{Process, Sweeper},
    users::{self, User},
    wait::retry,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{
    ffi::OsStr,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{process::Command, sync::Mutex};

/// Time limit for the start of etcd and kube-apiserver together; 4 s is usual.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for the end of each process before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More users. [`users::ADMIN`], [`users::CONTROLLER`] and [`users::PLAIN`] always exist.
    pub users: Vec<User>,
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    folder: TempDir,
    sweeper: Option<Sweeper>,
    programs: PathBuf,
    server: String,
    public_key: String,
    users: Vec<User>,
    ports: Ports,
    processes: Mutex<Processes>,
    ready_after: Duration,
}

#[derive(Debug)]
struct Processes {
    etcd: Process,
    api_server: Process,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    peers: u16,
    api: u16,
}

impl Ports {
    /// Three ports that are free now. Another process may still take one before our server does.
    fn free() -> Result<Self, Error> {
        let listen = || TcpListener::bind("127.0.0.1:0").map_err(io("find a free port"));
        let (a, b, c) = (listen()?, listen()?, listen()?);
        let port = |l: &TcpListener| l.local_addr().map(|a| a.port()).map_err(io("find a free port"));
        Ok(Self {
            etcd: port(&a)?,
            peers: port(&b)?,
            api: port(&c)?,
        })
    }
}

impl ControlPlane {
    /// Starts with the standard users.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Options::default()).await
    }

    /// Starts etcd and kube-apiserver, and waits until the API server is ready.
    pub async fn start_with(options: Options) -> Result<Self, Error> {
        // kube and reqwest share the process-wide provider. A second installation fails, which is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let programs = binaries::control_plane()?;
        let mut users = User::standard();
        users.extend(options.users);
        let mut attempt = 1;
        loop {
            match Self::start_on(&programs, &users, Ports::free()?).await {
                Err(Error::Start { log, .. }) if attempt < 4 && port_was_taken(&log) => attempt += 1,
                other => return other,
            }
        }
    }

    async fn start_on(programs: &Path, users: &[User], ports: Ports) -> Result<Self, Error> {
        let began = Instant::now();
        let folder = TempDir::with_prefix("control-plane-").map_err(io("create a temporary folder"))?;
        let public_key = write_signing_key(folder.path())?;
        users::write_tokens(users, &folder.path().join("tokens.csv"))?;
        let server = format!("https://127.0.0.1:{}", ports.api);
        for user in users {
            let ca = folder.path().join("certs/apiserver.crt");
            users::write_kubeconfig((&user.login, &user.token()), folder.path(), &server, &ca)?;
        }
        let etcd = spawn_etcd(programs, folder.path(), ports)?;
        let api_server = spawn_api_server(programs, folder.path(), ports)?;
        let mut plane = Self {
            sweeper: Some(Sweeper::of(folder.path())?),
            folder,
            programs: programs.to_owned(),
            server,
            public_key,
            users: users.to_vec(),
            ports,
            processes: Mutex::new(Processes { etcd, api_server }),
            ready_after: Duration::ZERO,
        };
        let ready = plane.wait_ready(READY_LIMIT).await;
        plane.ready_after = began.elapsed();
        match ready {
            Ok(()) => Ok(plane),
            Err(error) => {
                plane.stop().await;
                plane.keep_folder(); // the error names a log in this folder
                Err(error)
            }
        }
    }

    /// Waits for `/readyz`. Fails early if one of the processes has ended.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        let ready = retry(limit, Duration::from_millis(100), || async {
            match self.check().await {
                Ok(()) => self.readyz().await.map(Ok),
                ended => Ok(ended),
            }
        })
        .await;
        match ready {
            Ok(ready) => ready,
            Err(last) => {
                let processes = self.processes.lock().await;
                let reason = format!("was not ready after {limit:?}: {last}");
                Err(processes.api_server.failure(reason))
            }
        }
    }

    /// Fails if one of the processes has ended.
    async fn check(&self) -> Result<(), Error> {
        let mut processes = self.processes.lock().await;
        let Processes { etcd, api_server } = &mut *processes;
        for process in [etcd, api_server] {
            if let Some(status) = process.exited() {
                return Err(process.failure(format!("ended with {status} before it was ready")));
            }
        }
        Ok(())
    }

    async fn readyz(&self) -> Result<(), String> {
        let pem = std::fs::read(self.ca()).map_err(|e| format!("no certificate yet: {e}"))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| e.to_string())?;
        let client = reqwest::Client::builder()
            .tls_certs_only(roots)
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build();
        let request = client
            .map_err(|e| e.to_string())?
            .get(format!("{}/readyz", self.server));
        let token = User::new(users::ADMIN, &[]).token();
        let answer = request
            .bearer_auth(token)
            .send()
            .await
            .map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            200 => Ok(()),
            status => Err(format!("{status}: {}", answer.text().await.unwrap_or_default())),
        }
    }

    /// Time from the start until `/readyz` answered.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Address of the API server, `https://127.0.0.1:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// CA certificates of the API server.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("certs/apiserver.crt")
    }

    /// Folder of this control plane. Logs are `etcd.log` and `kube-apiserver.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Issuer (`iss`) of the service account tokens that this server signs.
    pub fn service_account_issuer(&self) -> String {
        issuer(self.ports)
    }

    /// PEM public key (ES256) that verifies these tokens.
    pub fn service_account_public_key(&self) -> &str {
        &self.public_key
    }

    /// The user with this name.
    pub fn user(&self, login: &str) -> Result<&User, Error> {
        let known = || {
            self.users
                .iter()
                .map(|u| u.login.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        self.users
            .iter()
            .find(|u| u.login == login)
            .ok_or_else(|| Error::Other(format!("no user {login:?}; there are: {}", known())))
    }

    /// Path of the kubeconfig file of a user.
    pub fn kubeconfig(&self, login: &str) -> Result<PathBuf, Error> {
        Ok(users::kubeconfig_path(
            self.folder.path(),
            &self.user(login)?.login,
        ))
    }

    /// Path of a kubeconfig file with a token of a service account, as its pods have it.
    pub async fn service_account_kubeconfig(&self, namespace: &str, account: &str) -> Result<PathBuf, Error> {
        let token = ["create", "token", account, "--namespace", namespace];
        let token = self.kubectl(&token).await?;
        let login = format!("{namespace}-{account}");
        users::write_kubeconfig(
            (&login, token.trim()),
            self.folder.path(),
            &self.server,
            &self.ca(),
        )
    }

    /// A client for a user, which verifies the certificate of the server.
    pub async fn client(&self, login: &str) -> Result<Client, Error> {
        client_of(&self.kubeconfig(login)?).await
    }

    /// A client with all permissions.
    pub async fn admin(&self) -> Result<Client, Error> {
        self.client(users::ADMIN).await
    }

    /// The kubectl that was built with the server, as the administrator.
    pub fn kubectl_command(&self) -> Kubectl {
        let kubeconfig = users::kubeconfig_path(self.folder.path(), users::ADMIN);
        Kubectl::new(self.programs.join("kubectl"), kubeconfig, self.folder.path())
    }

    /// Runs kubectl. Returns its standard output, or an error with both outputs.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, Error> {
        self.kubectl_command().run(args).await
    }

    /// Helm as a user.
    pub fn helm(&self, login: &str) -> Result<Helm, Error> {
        Helm::new(self.kubeconfig(login)?, self.folder.path())
    }

    /// Applies `deploy/base` (CRDs, namespace, RBAC, policies, Deployment) and waits for the CRDs.
    pub async fn install(&self) -> Result<(), Error> {
        self.kubectl_command().install().await
    }

    /// Freezes the API server: connections stay open, and it answers nothing.
    pub async fn pause(&self) -> Result<(), Error> {
        self.processes.lock().await.api_server.pause()
    }

    /// Resumes the API server.
    pub async fn resume(&self) -> Result<(), Error> {
        self.processes.lock().await.api_server.resume()
    }

    /// Kills the API server (SIGKILL). etcd keeps everything that was acknowledged.
    pub async fn kill_api_server(&self) {
        self.processes.lock().await.api_server.kill().await;
    }

    /// Starts the API server again, with the same port and state.
    pub async fn start_api_server(&self) -> Result<(), Error> {
        let fresh = spawn_api_server(&self.programs, self.folder.path(), self.ports)?;
        self.processes.lock().await.api_server = fresh;
        self.wait_ready(READY_LIMIT).await
    }

    /// Process ids of etcd and kube-apiserver.
    pub async fn process_ids(&self) -> [i32; 2] {
        let processes = self.processes.lock().await;
        [processes.etcd.id(), processes.api_server.id()]
    }

    /// Stops kube-apiserver, waits for its end, then stops etcd: an API server that loses etcd first ignores SIGTERM.
    /// A second call does nothing.
    pub async fn stop(&self) {
        let mut processes = self.processes.lock().await;
        processes.api_server.stop(STOP_TIMEOUT).await;
        processes.etcd.stop(STOP_TIMEOUT).await;
    }

    /// Keeps the folder with the logs, and prints its path.
    pub fn keep_folder(&mut self) -> &Path {
        self.sweeper = None;
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

/// A client from a kubeconfig file.
pub async fn client_of(kubeconfig: &Path) -> Result<Client, Error> {
    let other = |e: kube::config::KubeconfigError| Error::Other(format!("{}: {e}", kubeconfig.display()));
    let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(other)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(other)?;
    // A proxy of the environment is not for servers on this machine.
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

fn issuer(ports: Ports) -> String {
    format!("https://127.0.0.1:{}", ports.api)
}

/// Another process took a port between the check and the start of the server.
fn port_was_taken(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains("address already in use"))
}

/// Writes the key pair that signs service account tokens. Returns the public key.
fn write_signing_key(folder: &Path) -> Result<String, Error> {
    let pair = rcgen::KeyPair::generate().map_err(|e| Error::Other(format!("generate a key pair: {e}")))?;
    let public = pair.public_key_pem();
    for (name, pem) in [("sa.key", pair.serialize_pem()), ("sa.pub", public.clone())] {
        std::fs::write(folder.join(name), pem).map_err(io(format!("write {name}")))?;
    }
    Ok(public)
}

fn spawn_etcd(programs: &Path, folder: &Path, ports: Ports) -> Result<Process, Error> {
    let clients = format!("http://127.0.0.1:{}", ports.etcd);
    let mut command = Command::new(programs.join("etcd"));
    command
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg(format!("--listen-client-urls={clients}"))
        .arg(format!("--advertise-client-urls={clients}"))
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{}", ports.peers))
        // The data of a test does not have to survive a power failure.
        .arg("--unsafe-no-fsync");
    Process::spawn("etcd", command, &folder.join("etcd.log"), false)
}

fn spawn_api_server(programs: &Path, folder: &Path, ports: Ports) -> Result<Process, Error> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(programs.join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd))
        .arg(format!("--cert-dir={}", file("certs")))
        .args([
            "--bind-address=127.0.0.1",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
        ])
        .arg(format!("--secure-port={}", ports.api))
        // No controller manager creates the default service accounts that this plug-in would require.
        .args([
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        ])
        .arg(format!("--service-account-issuer={}", issuer(ports)))
        .arg(format!("--service-account-key-file={}", file("sa.pub")))
        .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
        .arg("--authorization-mode=RBAC")
        .arg(format!("--token-auth-file={}", file("tokens.csv")));
    Process::spawn(
        "kube-apiserver",
        command,
        &folder.join("kube-apiserver.log"),
        false,
    )
}
