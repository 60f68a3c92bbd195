//! Who may log in to the test API server, each with a static token and a kubeconfig of its own.

use crate::error::{Error, io};
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Login of the cluster's administrator (`system:masters`).
pub const ADMIN: &str = "admin";
/// Login that is the controller's service account: what it may do is what `deploy/base` grants.
pub const CONTROLLER: &str = "controller";
/// Login of a user with no rights at all.
pub const PLAIN: &str = "plain";

/// The namespace that the controller is installed in.
pub const CONTROLLER_NAMESPACE: &str = "serverprotection-system";
/// The controller's service account.
pub const CONTROLLER_ACCOUNT: &str = "serverprotection-controller";

/// One who may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// The name that tests and kubeconfig files use.
    pub login: String,
    /// The user name that the API server sees.
    pub name: String,
    /// The groups that the API server sees.
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

    /// A service account, logged in as its pod would be.
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

    /// The three that every control plane knows.
    pub(crate) fn standard() -> Vec<Self> {
        vec![
            Self::new(ADMIN, &["system:masters"]),
            Self::service_account(CONTROLLER, CONTROLLER_NAMESPACE, CONTROLLER_ACCOUNT),
            Self::new(PLAIN, &[]),
        ]
    }

    /// The token: only ever valid on 127.0.0.1 for the life of one test.
    pub fn token(&self) -> String {
        format!("{}-token", self.login)
    }
}

/// The API server's `--token-auth-file`. It adds system:authenticated itself.
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

/// Where the kubeconfig of a login lies.
pub(crate) fn kubeconfig_path(folder: &Path, login: &str) -> PathBuf {
    folder.join(format!("{login}.kubeconfig"))
}

/// A kubeconfig that verifies the server's certificate. JSON is YAML.
pub(crate) fn write_kubeconfig(user: &User, folder: &Path, server: &str, ca: &Path) -> Result<(), Error> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": ca}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user.login}}],
        "users": [{"name": user.login, "user": {"token": user.token()}}],
    });
    let path = kubeconfig_path(folder, &user.login);
    std::fs::write(&path, config.to_string()).map_err(io(format!("write {}", path.display())))
}
