//! The programs of Argo CD, and the garbage collector, which its way to delete needs.

use serverprotection_tests::{
    Error, control_plane::ControlPlane, error::io, process::Process, users, wait::retry,
};
use std::{
    fs::Permissions,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::TcpStream, process::Command};

pub(super) const CONTROLLER: &str = "argocd-application-controller";
pub(super) const REPO_SERVER: &str = "argocd-repo-server";
pub(super) const REDIS: &str = "redis-server";
pub(super) const COLLECTOR: &str = "kube-controller-manager";
/// Time limit until a program answers.
const READY: Duration = Duration::from_secs(40);
/// Time limit for the end of each program.
const STOP: Duration = Duration::from_secs(15);

/// The running programs, in the order in which they stop.
pub(crate) struct Processes {
    running: Vec<Process>,
    /// Folder of the copies of repositories.
    copies: PathBuf,
}

/// What the programs share.
struct Start<'s> {
    folder: &'s Path,
    programs: &'s super::Programs,
    kubeconfig: PathBuf,
    redis: String,
    repo_server: String,
}

impl Processes {
    /// Starts the programs with the settings that are in the namespace `argocd`. Their files and logs are in a folder.
    pub(crate) async fn start(
        plane: &ControlPlane,
        programs: &super::Programs,
        folder: &Path,
    ) -> Result<Self, Error> {
        for name in ["tls", "ssh", "plugins", "tmp", "home"] {
            std::fs::create_dir_all(folder.join(name)).map_err(io("create the folders of Argo CD"))?;
        }
        let [redis, repo_server, repo_metrics, metrics] = free_ports()?;
        let start = Start {
            folder,
            programs,
            kubeconfig: plane.kubeconfig(users::ADMIN)?,
            redis: format!("127.0.0.1:{redis}"),
            repo_server: format!("127.0.0.1:{repo_server}"),
        };
        let mut running = vec![start.collector()?, start.redis(redis)?];
        // An error of the repo-server is kept until the next resync, so it answers before the controller asks.
        let mut repositories = start.repo_server(repo_server, repo_metrics)?;
        answers(&mut repositories, repo_server).await?;
        running.push(repositories);
        let mut controller = start.controller(metrics)?;
        answers(&mut controller, metrics).await?;
        running.push(controller);
        running.reverse();
        let copies = folder.join("tmp/_argocd-repo");
        Ok(Self { running, copies })
    }

    /// Stops all, the controller first.
    pub(crate) async fn stop(&mut self) {
        for process in &mut self.running {
            process.stop(STOP).await;
        }
        // The repo-server takes all permissions from its copies of repositories. Then only root can remove them.
        let _ = readable(&self.copies);
    }
}

impl Start<'_> {
    fn redis(&self, port: u16) -> Result<Process, Error> {
        let mut command = Command::new(REDIS);
        command
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--bind",
                "127.0.0.1",
                "--port",
            ])
            .arg(port.to_string())
            .current_dir(self.folder);
        self.spawn(REDIS, command)
    }

    fn repo_server(&self, port: u16, metrics: u16) -> Result<Process, Error> {
        let mut command = self.argocd(REPO_SERVER)?;
        command
            // It refuses to go without TLS as long as it has an authority for clients.
            .args(["--disable-tls", "--client-ca-path="])
            .args(["--address", "127.0.0.1", "--port", &port.to_string()])
            .args([
                "--metrics-address",
                "127.0.0.1",
                "--metrics-port",
                &metrics.to_string(),
            ])
            .args(["--redis", &self.redis]);
        self.spawn(REPO_SERVER, command)
    }

    fn controller(&self, metrics: u16) -> Result<Process, Error> {
        let mut command = self.argocd(CONTROLLER)?;
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["-n", super::NAMESPACE])
            .args(["--repo-server", &self.repo_server, "--repo-server-plaintext"])
            .args(["--redis", &self.redis, "--metrics-port", &metrics.to_string()])
            // The health of each object is in the Application, where the cases read it.
            .arg("--persist-resource-health");
        self.spawn(CONTROLLER, command)
    }

    /// Argo CD deletes in the foreground, which is what the garbage collector ends.
    fn collector(&self) -> Result<Process, Error> {
        let mut command = Command::new(&self.programs.controller_manager);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args([
                "--leader-elect=false",
                "--secure-port=0",
                "--use-service-account-credentials",
            ])
            .arg("--controllers=garbage-collector-controller,namespace-controller");
        self.spawn(COLLECTOR, command)
    }

    /// The one program of Argo CD, which is another one by this name.
    fn argocd(&self, name: &str) -> Result<Command, Error> {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = self
            .programs
            .path
            .iter()
            .cloned()
            .chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).map_err(|error| Error::Other(error.to_string()))?;
        let mut command = Command::new(&self.programs.argocd);
        command
            .env("ARGOCD_BINARY_NAME", name)
            // Of the cluster that it calls its own.
            .env("ARGOCD_FAKE_IN_CLUSTER", "true")
            .env("KUBECONFIG", &self.kubeconfig)
            .env("ARGOCD_GPG_ENABLED", "false")
            .env("ARGOCD_TLS_DATA_PATH", self.folder.join("tls"))
            .env("ARGOCD_SSH_DATA_PATH", self.folder.join("ssh"))
            .env("ARGOCD_PLUGINSOCKFILEPATH", self.folder.join("plugins"))
            // The default is a path in /tmp, which another user may have taken.
            .env("ARGOCD_ASK_PASS_SOCK", self.folder.join("ask-pass.sock"))
            .env("TMPDIR", self.folder.join("tmp"))
            .env("HOME", self.folder.join("home"))
            .env("PATH", path)
            // A proxy of the environment is not for servers on this machine.
            .env("NO_PROXY", "127.0.0.1,localhost");
        Ok(command)
    }

    fn spawn(&self, name: &str, command: Command) -> Result<Process, Error> {
        Process::spawn(name, command, &self.folder.join(format!("{name}.log")), false)
    }
}

/// Waits until a port is open. Fails early if the process has ended.
async fn answers(process: &mut Process, port: u16) -> Result<(), Error> {
    let ready = retry(READY, Duration::from_millis(100), || {
        let exited = process.exited();
        async move {
            match exited {
                Some(status) => Ok(Some(status)),
                None => TcpStream::connect(("127.0.0.1", port)).await.map(|_| None),
            }
        }
    })
    .await;
    match ready {
        Ok(None) => Ok(()),
        Ok(Some(status)) => Err(process.failure(format!("ended with {status} before it was ready"))),
        Err(last) => Err(process.failure(format!("was not ready after {READY:?}: {last}"))),
    }
}

/// Ports that are free now. All are taken at once, so that they differ.
fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(io("find a free port"))?;
        *port = listener.local_addr().map_err(io("find a free port"))?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Gives the owner all permissions for a folder and the folders in it.
fn readable(folder: &Path) -> std::io::Result<()> {
    let all = || Permissions::from_mode(0o700);
    std::fs::set_permissions(folder, all())?;
    for entry in std::fs::read_dir(folder)? {
        std::fs::set_permissions(entry?.path(), all())?;
    }
    Ok(())
}
