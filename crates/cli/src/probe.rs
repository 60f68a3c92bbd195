//! `serverprotection probe URL`: whether a server answers. For `helm test`: the image has no shell and no curl. Hidden,
//! because it is not meant for people.
#![allow(clippy::doc_markdown)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args as ClapArgs;
use url::Url;

use crate::{cluster, endpoints, error::CliError, exit};

/// The delay between two requests.
const WAIT: Duration = Duration::from_millis(500);
/// The time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait until an HTTP address answers with a success
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Args {
    /// Address, such as http://127.0.0.1:8080/readyz
    #[arg(value_parser = endpoints::url)]
    url: Url,

    /// Time limit. Until then, a server that does not answer with a success is asked again
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Prints one line. The exit code is 0 after a success, and 1 if there was none within the time limit.
pub(crate) fn run(args: &Args) -> ExitCode {
    cluster::block_on(async {
        match until_success(&args.url, args.timeout).await {
            Ok(line) => Ok(exit::print(&line, 0)),
            Err(error) => {
                exit::report(&error);
                Ok(ExitCode::from(exit::NO))
            }
        }
    })
}

async fn until_success(url: &Url, timeout: Duration) -> Result<String, CliError> {
    // The server is in the cluster, and a proxy of the environment is for Azure.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(REQUEST_TIMEOUT.min(timeout))
        .build();
    let client = client.map_err(|error| CliError::new("cannot create an HTTP client").because(error))?;
    let began = Instant::now();
    loop {
        let cause = match client.get(url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => {
                return Ok(format!("{url} answers {}\n", answer.status()));
            }
            Ok(answer) => format!("the server answers {}", answer.status()),
            Err(error) => cluster::root(&error.without_url()),
        };
        if began.elapsed().saturating_add(WAIT) >= timeout {
            return Err(CliError::new(format!("{url} is not ready")).because(cause));
        }
        tokio::time::sleep(WAIT).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Serves these status lines, one for each connection, and then none any more.
    async fn server(answers: &'static [&'static str]) -> Url {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                let text = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
        Url::parse(&format!("http://{address}/readyz")).unwrap()
    }

    #[tokio::test]
    async fn a_server_that_becomes_ready_is_a_success() {
        let url = server(&["503 Service Unavailable", "200 OK"]).await;
        let line = until_success(&url, Duration::from_secs(10)).await.unwrap();
        assert_eq!(line, format!("{url} answers 200 OK\n"));
    }

    #[tokio::test]
    async fn the_last_answer_is_the_cause() {
        let url = server(&["503 Service Unavailable"]).await;
        let error = until_success(&url, Duration::from_millis(400)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{url} is not ready: the server answers 503 Service Unavailable")
        );
    }

    #[tokio::test]
    async fn without_a_server_it_ends_at_the_limit() {
        let url = Url::parse("http://127.0.0.1:1/readyz").unwrap();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let error = until_success(&url, Duration::from_millis(600)).await.unwrap_err();
        assert_eq!(error.problem, format!("{url} is not ready"));
        assert!(error.cause.unwrap().contains("refused"));
    }
}
