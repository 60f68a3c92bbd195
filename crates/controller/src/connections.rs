//! Connections of the HTTP server. Every pod of the cluster may be able to reach it, so a client can hold neither many
//! connections nor one for long.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections that are open at once. One more closes the one that waits longest for its headers, so that half-open
    /// connections do not keep probes out. Without such a connection, it closes the oldest after [`Self::answer`].
    pub(crate) connections: usize,
    /// Time until the headers of the request are complete.
    pub(crate) headers: Duration,
    /// Time that each request gets for its response while others wait.
    pub(crate) answer: Duration,
    /// Time until the response is sent.
    pub(crate) whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            headers: Duration::from_secs(5),
            answer: Duration::from_secs(1),
            whole: Duration::from_secs(20),
        }
    }
}

/// Longest request line and headers.
const MOST_BYTES: usize = 16 * 1024;
/// The delay after a connection could not be accepted, for example because no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// An open connection.
struct Connection {
    task: AbortHandle,
    since: Instant,
    /// Its headers are complete.
    requested: Arc<AtomicBool>,
}

/// The open connections, the oldest first.
struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    open: VecDeque<Connection>,
}

impl Connections {
    /// Waits until another connection may be opened, and closes one for it if necessary.
    async fn make_room(&mut self) {
        if self.open.len() >= self.limits.connections {
            // The connections read first what has arrived.
            tokio::task::yield_now().await;
        }
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.open.retain(|connection| !connection.task.is_finished());
            if self.open.len() < self.limits.connections {
                return;
            }
            let half_open = |connection: &Connection| !connection.requested.load(Ordering::Relaxed);
            let longest = self.open.iter().position(half_open).unwrap_or_default();
            let Some(connection) = self.open.get(longest) else {
                return;
            };
            let left = self.limits.answer.saturating_sub(connection.since.elapsed());
            if half_open(connection) || left.is_zero() {
                connection.task.abort();
                self.open.remove(longest);
                return;
            }
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    fn open(&mut self, stream: TcpStream, router: Router) {
        let requested = Arc::new(AtomicBool::new(false));
        let answer = answer(stream, router, self.limits, Arc::clone(&requested));
        self.open.push_back(Connection {
            task: self.tasks.spawn(answer),
            since: Instant::now(),
            requested,
        });
    }
}

/// Answers requests until `stop`, one for each connection.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let mut connections = Connections {
        limits,
        tasks: JoinSet::new(),
        open: VecDeque::new(),
    };
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for health and metrics");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if stop.run_until_cancelled(connections.make_room()).await.is_none() {
            break;
        }
        connections.open(stream, router.clone());
        // A burst of new connections does not keep this one from its first read.
        tokio::task::yield_now().await;
    }
    drop(listener);
    let mut tasks = connections.tasks;
    while tasks.join_next().await.is_some() {}
}

/// Answers one request, and sets `requested` when its headers are complete. Errors are those of the client.
async fn answer(stream: TcpStream, router: Router, limits: Limits, requested: Arc<AtomicBool>) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        requested.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .keep_alive(false)
        .max_buf_size(MOST_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let _: Result<Result<(), hyper::Error>, _> = tokio::time::timeout(limits.whole, connection).await;
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinHandle,
        time::timeout,
    };

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 4,
        headers: Duration::from_millis(300),
        answer: Duration::from_millis(300),
        whole: Duration::from_secs(2),
    };
    const SOON: Duration = Duration::from_secs(5);

    async fn start(limits: Limits) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let large = "x".repeat(8 << 20);
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route(
                "/slow",
                get(|| async {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    "slow"
                }),
            )
            .route("/large", get(move || async move { large }));
        let served = tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop, served)
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn text(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        // A connection that is reset ends like one that is closed.
        let _ = timeout(SOON, stream.read_to_end(&mut text))
            .await
            .expect("closed");
        String::from_utf8(text).unwrap()
    }

    const GET: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test]
    async fn a_connection_gets_one_answer_and_is_closed() {
        let (address, stop, served) = start(LIMITS).await;
        let answer = text(send(address, GET).await).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
            "{answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
        stop.cancel();
        timeout(SOON, served).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn half_a_request_is_closed_after_the_time_for_headers() {
        let (address, ..) = start(LIMITS).await;
        let began = Instant::now();
        for half in ["", "GET /healthz HTTP/1.1\r\nHost:"] {
            let answer = text(send(address, half).await).await;
            assert!(!answer.contains("200"), "{answer}");
        }
        assert!(began.elapsed() >= LIMITS.headers, "{:?}", began.elapsed());
        let long = format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(2 * MOST_BYTES));
        let answer = text(send(address, &long).await).await;
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test]
    async fn many_half_open_connections_do_not_keep_a_probe_out() {
        let limits = Limits {
            headers: Duration::from_secs(60),
            ..LIMITS
        };
        let (address, ..) = start(limits).await;
        let mut half_open = Vec::new();
        for _ in 0..20 {
            half_open.push(send(address, "GET /healthz HTTP/1.1\r\n").await);
        }
        let answer = text(send(address, GET).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // All but the newest were closed.
        let first = half_open.remove(0);
        assert_eq!(text(first).await, "");
    }

    #[tokio::test]
    async fn a_request_is_answered_although_many_others_follow_it() {
        let limits = Limits {
            answer: Duration::from_secs(60),
            headers: Duration::from_secs(60),
            ..LIMITS
        };
        let (address, ..) = start(limits).await;
        let mut requests = Vec::new();
        for _ in 0..10 {
            requests.push(send(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await);
            requests.push(send(address, GET).await);
        }
        // They close each other, and no request.
        let mut half_open = Vec::new();
        for _ in 0..50 {
            half_open.push(send(address, "GET /healthz HTTP/1.1\r\n").await);
        }
        for stream in requests {
            let answer = text(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }

    #[tokio::test]
    async fn clients_that_do_not_read_make_room_for_others() {
        let (address, ..) = start(LIMITS).await;
        let mut streams = Vec::new();
        for _ in 0..LIMITS.connections {
            streams.push(send(address, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await);
        }
        let began = Instant::now();
        let answer = text(send(address, GET).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(began.elapsed() < LIMITS.whole, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off() {
        let limits = Limits {
            whole: Duration::from_millis(300),
            ..LIMITS
        };
        let (address, stop, served) = start(limits).await;
        let stream = send(address, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
        tokio::time::sleep(limits.whole).await;
        stop.cancel();
        timeout(SOON, served).await.unwrap().unwrap();
        drop(stream);
    }
}
