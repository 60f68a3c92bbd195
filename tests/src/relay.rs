//! A network between a process and a server that tests can slow down and cut.

use crate::error::{Error, io};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{JoinHandle, JoinSet},
};

/// How often a connection that is cut checks whether it is whole again.
const CHECK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    delay_ms: AtomicU64,
}

/// Forwards TCP connections. It stops on drop.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Forwards connections to a server, such as `127.0.0.1:6443`.
    pub async fn start(server: &str) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(io("bind a relay"))?;
        let address = listener.local_addr().map_err(io("address of a relay"))?;
        let line = Arc::<Line>::default();
        let task = tokio::spawn(forward(listener, server.to_owned(), Arc::clone(&line)));
        Ok(Self { address, line, task })
    }

    /// Where the relay listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing arrives any more, in both directions. Connections stay open, as when a cable is pulled.
    pub fn cut(&self) {
        self.line.cut.store(true, Ordering::SeqCst);
    }

    /// Everything arrives this much later.
    pub fn delay(&self, by: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.line.delay_ms.store(milliseconds, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(listener: TcpListener, server: String, line: Arc<Line>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, line) = (server.clone(), Arc::clone(&line));
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::join!(
                copy(from_client, to_server, &line),
                copy(from_server, to_client, &line)
            );
        });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: &Line) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(Duration::from_millis(line.delay_ms.load(Ordering::SeqCst))).await;
        while line.cut.load(Ordering::SeqCst) {
            tokio::time::sleep(CHECK).await;
        }
        let Some(read) = bytes.get(..count) else { return };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}
