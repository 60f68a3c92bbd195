//! The users of the test API server, each with a static token and a kubeconfig.

use crate::error::{Error, io};
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// The administrator of the cluster (`system:masters`).
pub const ADMIN: &str = "admin";
/// The controller's service account, with the permissions that `deploy/base` grants.
pub const CONTROLLER: &str = "controller";
/// A user without permissions.
pub const PLAIN: &str = "plain";

/// The namespace of the controller.
pub const CONTROLLER_NAMESPACE: &str = "serverprotection-system";
/// The controller's service account.
pub const CONTROLLER_ACCOUNT: &str = "serverprotection-controller";

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Name in tests and file names.
    pub login: String,
    /// User name for the API server.
    pub name: String,
    /// Groups for the API server.
    pub groups: Vec<String>,
}

impl User {
    /// An ordinary user.
    pub fn new(login: &str, groups: &[&str]) -> Self {
        Self {
            login: login.into(),
            name: login.into(),
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
        }
    }

    /// A service account with the user name and groups of its pods.
    pub fn service_account(login: &str, namespace: &str, account: &str) -> Self {
        Self {
            login: login.into(),
            name: format!("system:serviceaccount:{namespace}:{account}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
            ],
        }
    }

    /// The three users of every control plane.
    pub(crate) fn standard() -> Vec<Self> {
        vec![
            Self::new(ADMIN, &["system:masters"]),
            Self::service_account(CONTROLLER, CONTROLLER_NAMESPACE, CONTROLLER_ACCOUNT),
            Self::new(PLAIN, &[]),
        ]
    }

    /// The token, which is valid only on 127.0.0.1 for the duration of one test.
    pub fn token(&self) -> String {
        format!("{}-token", self.login)
    }
}

/// The API server's `--token-auth-file`. The API server adds the group system:authenticated.
pub(crate) fn write_tokens(users: &[User], path: &Path) -> Result<(), Error> {
    let mut lines = String::new();
    for (n, user) in users.iter().enumerate() {
        let _ = writeln!(
            lines,
            "{},{},uid-{n},\"{}\"",
            user.token(),
            user.name,
            user.groups.join(",")
        );
    }
    std::fs::write(path, lines).map_err(io(format!("write {}", path.display())))
}

/// Path of the kubeconfig of a user.
pub(crate) fn kubeconfig_path(folder: &Path, login: &str) -> PathBuf {
    folder.join(format!("{login}.kubeconfig"))
}

/// A kubeconfig that verifies the certificate of the server. JSON is valid YAML.
pub(crate) fn write_kubeconfig(
    (login, token): (&str, &str),
    folder: &Path,
    server: &str,
    ca: &Path,
) -> Result<PathBuf, Error> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": ca}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": login}}],
        "users": [{"name": login, "user": {"token": token}}],
    });
    let path = kubeconfig_path(folder, login);
    std::fs::write(&path, config.to_string()).map_err(io(format!("write {}", path.display())))?;
    Ok(path)
}
