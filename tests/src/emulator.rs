//! The `azure-emulator` as a process, and a thin client of its control endpoint. Bodies are plain JSON;
//! `docs/emulator.md` describes them.

use crate::{
    binaries,
    error::{Error, io},
    process::{Process, Sweeper},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::Mutex,
};

/// The tenant that exists without a seed.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The application that exists without a seed.
pub const CLIENT: &str = "33333333-3333-3333-3333-333333333333";
/// The client secret of this application. It is valid only for this emulator.
pub const SECRET: &str = "s3cret";
/// The subscription that exists without a seed.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// The default of `azure-emulator serve --identity-header`.
const IDENTITY_HEADER: &str = "emulated-identity-header";

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    folder: TempDir,
    _sweeper: Sweeper,
    endpoint: String,
    ca: PathBuf,
    identity: String,
    http: reqwest::Client,
    process: Mutex<Process>,
}

impl Emulator {
    /// Starts the emulator on a free port without a seed.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(None, &[]).await
    }

    /// Starts the emulator with a seed and more arguments of `azure-emulator serve`.
    pub async fn start_with(seed: Option<&Value>, arguments: &[&str]) -> Result<Self, Error> {
        Self::start_on(["127.0.0.1:0"; 2], seed, arguments).await
    }

    /// Starts the emulator on two addresses of this machine: of Azure, and of the endpoint of managed identities.
    pub async fn start_on(
        [azure, identities]: [&str; 2],
        seed: Option<&Value>,
        arguments: &[&str],
    ) -> Result<Self, Error> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let program = binaries::ours("azure-emulator")?;
        let folder = TempDir::with_prefix("azure-emulator-").map_err(io("create a temporary folder"))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", azure, "--identity-listen", identities])
            .arg("--certificates")
            .arg(folder.path().join("certificates"));
        if let Some(seed) = seed {
            let path = folder.path().join("seed.json");
            std::fs::write(&path, seed.to_string()).map_err(io("write the seed"))?;
            command.arg("--seed").arg(path);
        }
        command.args(arguments).stdout(Stdio::piped());
        let log = folder.path().join("azure-emulator.log");
        let mut process = Process::spawn("azure-emulator", command, &log, true)?;
        let Some(Listening {
            endpoint,
            ca,
            identity,
        }) = first_line(&mut process).await
        else {
            let error = process.failure("did not print its address");
            process.stop(Duration::from_secs(1)).await;
            let _ = folder.keep(); // the error names a log in this folder
            return Err(error);
        };
        let pem = std::fs::read(&ca).map_err(io(format!("read {}", ca.display())))?;
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem)?])
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()?;
        let sweeper = Sweeper::of(folder.path())?;
        Ok(Self {
            _sweeper: sweeper,
            folder,
            endpoint,
            ca,
            identity,
            http,
            process: Mutex::new(process),
        })
    }

    /// `https://ADDRESS` of Entra, ARM and the control endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The environment variables with which a process on the emulated machine gets tokens of its managed identities, as
    /// in App Service. Seed principals with `managedIdentity`.
    pub fn app_service(&self) -> [(&'static str, String); 2] {
        [
            ("IDENTITY_ENDPOINT", format!("{}/msi/token", self.identity)),
            ("IDENTITY_HEADER", IDENTITY_HEADER.to_owned()),
        ]
    }

    /// Path of the CA certificate of the endpoint.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Folder with the log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the emulator.
    pub async fn stop(&self) {
        self.process.lock().await.stop(Duration::from_secs(5)).await;
    }

    /// Freezes the emulator: connections stay open, and it answers nothing.
    pub async fn pause(&self) -> Result<(), Error> {
        self.process.lock().await.pause()
    }

    /// Resumes the emulator.
    pub async fn resume(&self) -> Result<(), Error> {
        self.process.lock().await.resume()
    }

    /// The requests that concern a subscription, oldest first.
    pub async fn requests(&self, subscription: &str) -> Result<Vec<Value>, Error> {
        self.requests_since(subscription, None, None).await
    }

    /// The same requests after a request number (`sequence`) and of one kind (`arm`, `token`, `metadata`).
    pub async fn requests_since(
        &self,
        subscription: &str,
        since: Option<u64>,
        kind: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let since = since.map(|n| format!("&since={n}")).unwrap_or_default();
        let kind = kind.map(|k| format!("&kind={k}")).unwrap_or_default();
        let answer = self
            .get_path(&format!("requests?subscription={subscription}{since}{kind}"))
            .await?;
        list(answer, "requests")
    }

    /// The requests of a client id, including its token requests.
    pub async fn requests_of(&self, client_id: &str) -> Result<Vec<Value>, Error> {
        let all = list(self.get_path("requests?kind=all").await?, "requests")?;
        let of = |request: &Value| request.to_string().contains(client_id);
        Ok(all.into_iter().filter(of).collect())
    }

    /// Numbers of requests.
    pub async fn summary(&self, subscription: Option<&str>) -> Result<Value, Error> {
        let filter = subscription
            .map(|s| format!("?subscription={s}"))
            .unwrap_or_default();
        self.get_path(&format!("requests/summary{filter}")).await
    }

    /// Clears the request log.
    pub async fn clear(&self) -> Result<(), Error> {
        self.call(Method::DELETE, "requests", None).await.map(drop)
    }

    /// Adds a fault. Returns its id.
    pub async fn add_fault(&self, fault: Value) -> Result<String, Error> {
        let answer = self.call(Method::POST, "faults", Some(fault)).await?;
        let id = answer
            .get("id")
            .ok_or_else(|| Error::Other(format!("a fault without an id: {answer}")))?;
        Ok(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
    }

    /// The active faults, each with the number of its uses.
    pub async fn faults(&self) -> Result<Vec<Value>, Error> {
        list(self.get_path("faults").await?, "faults")
    }

    /// Removes a fault.
    pub async fn delete_fault(&self, id: &str) -> Result<(), Error> {
        self.call(Method::DELETE, &format!("faults/{id}"), None)
            .await
            .map(drop)
    }

    /// Removes all faults.
    pub async fn clear_faults(&self) -> Result<(), Error> {
        self.call(Method::DELETE, "faults", None).await.map(drop)
    }

    /// Breaches that the safety monitor allows in this run, for tests that break an invariant on purpose.
    pub async fn allow(&self, allowances: Value) -> Result<Value, Error> {
        self.call(Method::PUT, "monitor", Some(allowances)).await
    }

    /// The breaches that the safety monitor found; empty in every successful run.
    pub async fn breaches(&self) -> Result<Vec<Value>, Error> {
        list(self.get_path("breaches").await?, "breaches")
    }

    /// Clears the breaches.
    pub async fn clear_breaches(&self) -> Result<(), Error> {
        self.call(Method::DELETE, "breaches", None).await.map(drop)
    }

    /// The state of a subscription.
    pub async fn get(&self, subscription: &str) -> Result<Value, Error> {
        self.get_path(&format!("subscriptions/{subscription}")).await
    }

    /// Changes a subscription as another writer: `{"settings.WDATP": false}`.
    pub async fn set(&self, subscription: &str, fields: Value) -> Result<Value, Error> {
        self.call(
            Method::PATCH,
            &format!("subscriptions/{subscription}"),
            Some(json!({"set": fields})),
        )
        .await
    }

    /// Adds one machine or a list of machines, in the format of a seed.
    pub async fn add_machine(&self, subscription: &str, machine: Value) -> Result<Value, Error> {
        let path = format!("subscriptions/{subscription}/machines");
        self.call(Method::POST, &path, Some(machine)).await
    }

    /// The state of a machine.
    pub async fn machine(&self, subscription: &str, name: &str) -> Result<Value, Error> {
        self.get_path(&format!("subscriptions/{subscription}/machines/{name}"))
            .await
    }

    /// Changes a machine: `{"powerState": "deallocated"}`.
    pub async fn set_machine(&self, subscription: &str, name: &str, fields: Value) -> Result<Value, Error> {
        let path = format!("subscriptions/{subscription}/machines/{name}");
        self.call(Method::PATCH, &path, Some(json!({"set": fields})))
            .await
    }

    /// Deletes a machine.
    pub async fn delete_machine(&self, subscription: &str, name: &str) -> Result<(), Error> {
        let path = format!("subscriptions/{subscription}/machines/{name}");
        self.call(Method::DELETE, &path, None).await.map(drop)
    }

    /// Advances the clock of the machines: `2h`.
    pub async fn advance(&self, duration: &str) -> Result<(), Error> {
        let body = json!({"advance": duration});
        self.call(Method::PUT, "clock", Some(body)).await.map(drop)
    }

    /// Adds tenants, applications and subscriptions.
    pub async fn seed(&self, seed: Value) -> Result<Value, Error> {
        self.call(Method::POST, "seed", Some(seed)).await
    }

    /// Changes an application: secrets, federated identity credentials, role assignments.
    pub async fn principal(&self, client_id: &str, change: Value) -> Result<Value, Error> {
        self.call(Method::PATCH, &format!("principals/{client_id}"), Some(change))
            .await
    }

    /// Changes accounts of other clouds with a JSON merge patch in the format of a seed.
    pub async fn cloud_accounts(&self, change: Value) -> Result<Value, Error> {
        self.call(Method::PATCH, "cloud-accounts", Some(change)).await
    }

    /// Sets switches (docs/emulator.md): `{"omittedExtensions": "defaults"}`.
    pub async fn switches(&self, switches: Value) -> Result<Value, Error> {
        self.call(Method::PUT, "switches", Some(switches)).await
    }

    /// Times and toggles of the emulator: `{"latency": "50ms"}`.
    pub async fn options(&self, options: Value) -> Result<Value, Error> {
        self.call(Method::PUT, "options", Some(options)).await
    }

    /// Adds another writer that writes the same field again and again.
    pub async fn foreign_writer(&self, writer: Value) -> Result<Value, Error> {
        self.call(Method::POST, "foreign-writers", Some(writer)).await
    }

    /// Removes that writer.
    pub async fn remove_foreign_writer(&self, id: &str) -> Result<(), Error> {
        self.call(Method::DELETE, &format!("foreign-writers/{id}"), None)
            .await
            .map(drop)
    }

    async fn get_path(&self, path: &str) -> Result<Value, Error> {
        self.call(Method::GET, path, None).await
    }

    /// Sends a request to the control endpoint; `path` is what follows `/_emulator/`.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}/_emulator/{path}", self.endpoint));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            let (method, path) = (method.to_string(), format!("/_emulator/{path}"));
            return Err(Error::Emulator {
                method,
                path,
                status: status.as_u16(),
                body: text,
            });
        }
        Ok(if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text)?
        })
    }
}

/// Returns a list, whether it is the whole body or a member of it.
fn list(answer: Value, name: &str) -> Result<Vec<Value>, Error> {
    let inner = match answer {
        Value::Object(mut fields) => fields
            .remove(name)
            .or_else(|| fields.remove("value"))
            .unwrap_or_default(),
        other => other,
    };
    match inner {
        Value::Array(items) => Ok(items),
        other => Err(Error::Other(format!(
            "the emulator's {name} are not a list: {other}"
        ))),
    }
}

/// Parses `listening on https://127.0.0.1:PORT ca DIR/ca.pem identity http://127.0.0.1:PORT`.
/// What the first line of the emulator says.
struct Listening {
    endpoint: String,
    ca: PathBuf,
    /// `http://127.0.0.1:PORT` of the managed identities.
    identity: String,
}

async fn first_line(process: &mut Process) -> Option<Listening> {
    let mut lines = BufReader::new(process.take_stdout()?).lines();
    let first = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(listening) = parse_listening(&line) {
                // Later output must not block the process.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(listening);
            }
        }
        None
    };
    tokio::time::timeout(Duration::from_secs(20), first)
        .await
        .ok()
        .flatten()
}

fn parse_listening(line: &str) -> Option<Listening> {
    let (endpoint, rest) = line.split_once("listening on ")?.1.split_once(" ca ")?;
    let (ca, identity) = rest.split_once(" identity ")?;
    Some(Listening {
        endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
        ca: PathBuf::from(ca.trim()),
        identity: identity.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line() {
        let line = "listening on https://127.0.0.1:4431 ca /tmp/a b/ca.pem identity http://127.0.0.1:80";
        let found = parse_listening(line).unwrap();
        assert_eq!(
            (found.endpoint.as_str(), found.ca.to_str().unwrap()),
            ("https://127.0.0.1:4431", "/tmp/a b/ca.pem")
        );
        assert_eq!(found.identity, "http://127.0.0.1:80");
        assert!(parse_listening("something else").is_none());
    }

    #[test]
    fn lists_come_bare_or_named() {
        assert_eq!(list(json!([1]), "faults").unwrap(), [json!(1)]);
        assert_eq!(list(json!({"faults": [1]}), "faults").unwrap(), [json!(1)]);
        assert!(list(json!({"other": [1]}), "faults").is_err());
    }
}
