//! A repository with a working copy, as a developer has it.

use crate::git_server::GitServer;
use serde_json::Value;
use serverprotection_tests::{Error, error::io};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The branch that the tools follow.
pub(crate) const BRANCH: &str = "main";

/// A working copy and the bare repository that it is pushed to.
pub(crate) struct Repository {
    /// Address of the bare repository.
    pub(crate) url: String,
    folder: PathBuf,
}

impl Repository {
    /// Creates both.
    pub(crate) async fn create(server: &GitServer, name: &str) -> Result<Self, Error> {
        let bare = server.folder().join(format!("{name}.git"));
        let folder = server.folder().join(format!("{name}.work"));
        let [bare_path, folder_path] = [&bare, &folder].map(|path| path.display().to_string());
        git(
            server.folder(),
            &["init", "-q", "--bare", "-b", BRANCH, &bare_path],
        )
        .await?;
        git(server.folder(), &["init", "-q", "-b", BRANCH, &folder_path]).await?;
        git(&folder, &["remote", "add", "origin", &bare_path]).await?;
        Ok(Self {
            url: server.url(name),
            folder,
        })
    }

    /// The folder of the working copy.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes an object into a file of its own. JSON is valid YAML.
    pub(crate) fn write(&self, name: &str, object: &Value) -> Result<(), Error> {
        self.write_text(&format!("{name}.yaml"), &format!("{object:#}\n"))
    }

    /// Writes a file.
    pub(crate) fn write_text(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.folder.join(file);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io(format!("create {}", folder.display())))?;
        }
        std::fs::write(&path, text).map_err(io(format!("write {}", path.display())))
    }

    /// Removes the file of an object.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.folder.join(format!("{name}.yaml"));
        std::fs::remove_file(&path).map_err(io(format!("remove {}", path.display())))
    }

    /// Commits everything and pushes it. Returns the id of the commit.
    pub(crate) async fn commit(&self, message: &str) -> Result<String, Error> {
        git(&self.folder, &["add", "--all"]).await?;
        git(&self.folder, &["commit", "-q", "-m", message]).await?;
        git(&self.folder, &["push", "-q", "origin", BRANCH]).await?;
        let id = git(&self.folder, &["rev-parse", "HEAD"]).await?;
        Ok(id.trim().to_owned())
    }
}

/// Runs git without the settings of the user. Returns its standard output.
async fn git(folder: &Path, arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .kill_on_drop(true)
        .output()
        .await
        .map_err(io("run git"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Error::Command {
        command: format!("git {}", arguments.join(" ")),
        status: output.status.to_string(),
        output: text(&output.stdout) + &text(&output.stderr),
    })
}
