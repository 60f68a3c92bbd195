//! The node: its images and its processes. This program runs in the same namespaces.

use crate::setting::variable;
use rustix::process::{Pid, Signal, kill_process};
use serverprotection_tests::{Error, error::io};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// The name of the controller's process, which the kernel cuts after 15 characters.
const CONTROLLER: &str = "serverprotectio";

/// The node.
pub(crate) struct Node {
    ctr: PathBuf,
}

/// What the kernel says about a process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: u32,
    /// `/proc/ID/status`.
    pub(crate) status: String,
    /// `/proc/ID/mountinfo`.
    pub(crate) mounts: String,
    /// `/proc/ID/cgroup`.
    groups: String,
}

impl Running {
    /// The value of a line of its status, such as `VmRSS`.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let line = self
            .status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    }

    /// Whether it runs in the pod with this uid.
    pub(crate) fn is_in(&self, pod: &str) -> bool {
        self.groups.contains(&format!("pod{pod}"))
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&self) -> Result<(), Error> {
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| Error::Other(format!("{} is no process id", self.id)))?;
        kill_process(id, Signal::KILL).map_err(|error| Error::Other(error.to_string()))
    }

    /// Memory in kB.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.field("VmRSS")?.strip_suffix(" kB")?.trim().parse().ok()
    }
}

impl Node {
    /// The node that this program runs on.
    pub(crate) fn of_environment() -> Result<Self, Error> {
        // Without the address, ctr would talk to a containerd of this machine.
        variable("CONTAINERD_ADDRESS")?;
        Ok(Self { ctr: "ctr".into() })
    }

    /// Imports an image archive, and gives its image a name of our own. Returns the name.
    pub(crate) async fn import(&self, archive: &Path, tag: &str) -> Result<String, Error> {
        let before = self.images().await?;
        let import: [&OsStr; 3] = ["images".as_ref(), "import".as_ref(), archive.as_os_str()];
        run(&self.ctr, &import).await?;
        let after = self.images().await?;
        let fresh: Vec<&String> = after.difference(&before).collect();
        let found = fresh
            .iter()
            .find(|name| !name.starts_with("sha256:"))
            .ok_or_else(|| {
                let archive = archive.display();
                Error::Other(format!("no new image in {archive}; the node has {after:?}"))
            })?;
        let name = format!("localhost/serverprotection:{tag}");
        run(&self.ctr, &["images", "tag", "--force", found, &name]).await?;
        // Another archive may have an image of the same name.
        let mut remove = vec!["images", "rm"];
        remove.extend(fresh.iter().map(|name| name.as_str()));
        run(&self.ctr, &remove).await?;
        Ok(name)
    }

    async fn images(&self) -> Result<BTreeSet<String>, Error> {
        let names = run(&self.ctr, &["images", "ls", "-q"]).await?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The processes of the controller's pods. There are no others of this name in the namespace.
    pub(crate) fn controllers() -> Result<Vec<Running>, Error> {
        Self::processes(CONTROLLER)
    }

    /// The processes with a name.
    pub(crate) fn processes(name: &str) -> Result<Vec<Running>, Error> {
        let entries = std::fs::read_dir("/proc").map_err(io("read /proc"))?;
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let running = |id: u32| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).ok();
            (read("comm")?.trim() == name).then_some(())?;
            Some(Running {
                id,
                status: read("status")?,
                mounts: read("mountinfo")?,
                groups: read("cgroup")?,
            })
        };
        Ok(ids.filter_map(running).collect())
    }
}

/// Runs a program. Returns its standard output, or an error with both outputs.
pub(crate) async fn run<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Result<String, Error> {
    let output = Command::new(program)
        .args(args)
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(io(format!("run {}", program.display())))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let words: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    Err(Error::Command {
        command: format!("{} {}", program.display(), words.join(" ")),
        status: output.status.to_string(),
        output: format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)),
    })
}
