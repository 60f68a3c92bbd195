//! What tools of `GitOps` say about recorded statuses. The program in `tests/gitops/judge` computes it with Flux's kstatus
//! and with our health checks in Argo CD's Lua interpreter, and compares it with its table of situations.

use crate::{
    binaries,
    error::{Error, io},
    kstatus::{self, Status},
    recorder::Version,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{Seek, Write},
    process::Stdio,
};
use tokio::process::Command;

/// What the tools say about one object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Judgment {
    /// The row of the table.
    pub situation: String,
    /// Flux's kstatus.
    pub kstatus: Status,
    /// Health in Argo CD.
    pub health: String,
    /// Its message.
    pub message: String,
    /// In which way they contradict the table.
    pub problem: Option<String>,
}

/// The judgment about each of these versions.
pub async fn judgments(versions: &[Version]) -> Result<Vec<Judgment>, Error> {
    let mut objects = tempfile::tempfile().map_err(io("create a temporary file"))?;
    for version in versions {
        writeln!(objects, "{}", object(version)).map_err(io("write a temporary file"))?;
    }
    objects.rewind().map_err(io("read a temporary file"))?;
    let root = binaries::root();
    let mut command = Command::new(binaries::gitops_judge()?);
    command
        .args(["-root", &root.to_string_lossy(), "statuses"])
        .stdin(Stdio::from(objects))
        .kill_on_drop(true);
    let output = command.output().await.map_err(io("run the judge"))?;
    if !output.status.success() {
        return Err(Error::Command {
            command: "judge statuses".into(),
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let judgments: Vec<Judgment> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    if judgments.len() == versions.len() {
        return Ok(judgments);
    }
    Err(Error::Other(format!(
        "{} judgments about {} versions",
        judgments.len(),
        versions.len()
    )))
}

/// Versions about which the tools contradict the table of situations, or our fast copy of kstatus.
pub async fn disagreements(versions: &[Version]) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (version, judgment) in versions.iter().zip(judgments(versions).await?) {
        found.extend(judgment.problem);
        let copy = kstatus::kstatus_of(version);
        if copy != judgment.kstatus {
            let Version { kind, name, .. } = version;
            let (at, flux) = (&version.resource_version, judgment.kstatus);
            found.push(format!(
                "{kind} {name} at resourceVersion {at}: kstatus is {flux:?}, our copy says {copy:?}"
            ));
        }
    }
    Ok(found)
}

/// What the tools read of an object.
fn object(version: &Version) -> Value {
    let mut object = json!({
        "apiVersion": "serverprotection.dev/v1alpha1",
        "kind": version.kind,
        "metadata": {
            "name": version.name,
            "namespace": version.namespace,
            "uid": version.uid,
            "resourceVersion": version.resource_version,
            "generation": version.generation,
            "finalizers": version.finalizers,
        },
        "spec": {"suspend": version.suspended},
        "status": version.status,
    });
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|_| version.deleting) {
        // Tools read only whether there is one.
        metadata.insert("deletionTimestamp".into(), version.at.to_string().into());
    }
    object
}

#[cfg(test)]
mod tests;
