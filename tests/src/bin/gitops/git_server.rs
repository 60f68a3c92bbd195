//! A git server over HTTP: a folder with bare repositories, and git's own CGI program for each request.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serverprotection_tests::{Error, error::io};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command, task::JoinHandle};

/// Limit of the body of a request. The tools send only what they already have.
const LARGEST_BODY: usize = 16 << 20;

/// The running server. It stops on drop.
pub(crate) struct GitServer {
    address: SocketAddr,
    folder: PathBuf,
    task: JoinHandle<()>,
}

impl GitServer {
    /// Serves a folder, which it creates, on a free port.
    pub(crate) async fn start(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(io("create the folder of the repositories"))?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(io("bind the git server"))?;
        let address = listener.local_addr().map_err(io("address of the git server"))?;
        let root: Arc<Path> = folder.into();
        let application = Router::new().fallback(answer).with_state(root);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, application).await;
        });
        Ok(Self {
            address,
            folder: folder.to_owned(),
            task,
        })
    }

    /// The folder with the repositories.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Address of a repository.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(root): State<Arc<Path>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match backend(&root, &parts.method, &parts.uri, &parts.headers, body).await {
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Runs `git http-backend` for a request (RFC 3875).
async fn backend(
    root: &Path,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        // The body may be compressed.
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("GIT_PROTOCOL", text("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(io("run git http-backend"))?;
    let input = child.stdin.take();
    let write = async move {
        if let Some(mut input) = input {
            // The program may end before it has read everything.
            let _ = input.write_all(&body).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(io("run git http-backend"))?;
    parse(&output.stdout).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        Error::Other(format!("git http-backend gave no response: {stderr}"))
    })
}

/// The response in the output of a CGI program.
fn parse(output: &[u8]) -> Option<Response> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(output.get(..end)?).ok()?;
    let body = output.get(end + 4..)?.to_vec();
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(':')?;
        response = if name.eq_ignore_ascii_case("status") {
            response.status(value.trim().get(..3)?)
        } else {
            response.header(name, value.trim())
        };
    }
    response
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_a_cgi_program() {
        let response = parse(b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nnone").unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert!(parse(b"fatal: no such repository").is_none());
    }
}
