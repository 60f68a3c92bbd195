//! The statuses of the tables of situations, for `make test`: it lets tests/gitops/judge read them as Flux and Argo CD do.

use std::{env, fs::OpenOptions, io::Write as _};

use k8s_openapi::serde::Serialize;
use serde_json::json;

/// What tools read of an object apart from its status.
pub(crate) struct Object {
    pub(crate) kind: &'static str,
    pub(crate) generation: i64,
    pub(crate) suspended: bool,
    pub(crate) deleting: bool,
}

impl Object {
    /// Appends the object with this status as a line to the file that `SERVERPROTECTION_STATUSES` names, if it is set.
    pub(crate) fn write(&self, status: &impl Serialize) {
        let Some(path) = env::var_os("SERVERPROTECTION_STATUSES") else {
            return;
        };
        let mut object = json!({
            "apiVersion": "serverprotection.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": "situation", "generation": self.generation},
            "spec": {"suspend": self.suspended},
            "status": status,
        });
        if self.deleting {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            object["metadata"]["finalizers"] = json!([serverprotection_api::FINALIZER]);
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write, because tests of several threads append.
        file.write_all(format!("{object}\n").as_bytes()).unwrap();
    }
}
