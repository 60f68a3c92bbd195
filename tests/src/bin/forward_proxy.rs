//! A forward proxy for tests: `CONNECT` only, with Basic authentication. It prints its address, and then a line for each
//! request: `opened HOST:PORT`, or `refused HOST:PORT` if the password is wrong or missing.
//!
//! Usage: `forward_proxy BASIC`, where `BASIC` is the base64 text of `USER:PASSWORD`.
#![allow(clippy::print_stdout, reason = "the test reads its output")]

use std::{io::Write as _, process::ExitCode, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Longest request.
const MOST_BYTES: usize = 8 * 1024;
/// Time limit of a request.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let Some(basic) = std::env::args().nth(1) else {
        eprintln!("usage: forward_proxy BASE64_OF_USER_AND_PASSWORD");
        return ExitCode::FAILURE;
    };
    match serve(basic).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forward_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(basic: String) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("listening on {}", listener.local_addr()?));
    loop {
        let (client, _) = listener.accept().await?;
        let basic = basic.clone();
        tokio::spawn(async move {
            // An error ends this connection only.
            let _ = tunnel(client, &basic).await;
        });
    }
}

async fn tunnel(mut client: TcpStream, basic: &str) -> std::io::Result<()> {
    let head = timeout(LIMIT, head(&mut client)).await??;
    let Some(target) = target(&head) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    if !is_authorized(&head, basic) {
        say(&format!("refused {target}"));
        let answer =
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\r\n";
        return client.write_all(answer.as_bytes()).await;
    }
    let mut server = TcpStream::connect(target).await?;
    say(&format!("opened {target}"));
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// The request line and the headers. A client sends nothing else before the answer.
async fn head(client: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= MOST_BYTES || client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `HOST:PORT` of a `CONNECT` request.
fn target(head: &str) -> Option<&str> {
    head.strip_prefix("CONNECT ")?.split(' ').next()
}

fn is_authorized(head: &str, basic: &str) -> bool {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.any(|(name, value)| {
        name.eq_ignore_ascii_case("proxy-authorization") && value.trim().strip_prefix("Basic ") == Some(basic)
    })
}

fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n";

    #[test]
    fn a_request_needs_the_method_and_the_password() {
        assert_eq!(target(HEAD), Some("a.example:443"));
        assert_eq!(target("GET http://a.example/ HTTP/1.1\r\n\r\n"), None);
        assert!(is_authorized(HEAD, "dTpw"));
        assert!(!is_authorized(HEAD, "eDp5"));
        assert!(!is_authorized("CONNECT a.example:443 HTTP/1.1\r\n\r\n", "dTpw"));
    }
}
