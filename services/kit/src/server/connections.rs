//! Connections over HTTP/1.1, with upgrades to sockets and an orderly end. Done here
//! because `axum::serve` would wait for a request for ever.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::io::InspectWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::metrics as names;

/// A connection may rest this long between two requests. Longer than NGINX (60 s) and
/// our own clients (90 s) do: who sends should be the one who closes.
const REST: Duration = Duration::from_secs(120);

/// Serves until `stop`, and then until the last request has ended. A connection whose
/// first request has no complete head after `handshake` is closed. `port` is its name in
/// metrics.
pub(super) async fn serve(
    mut listener: TcpListener,
    port: &'static str,
    router: Router,
    handshake: Duration,
    stop: CancellationToken,
) {
    let router = router.with_state(());
    let connections = TaskTracker::new();
    let writes = metrics::counter!(names::WRITES, "port" => port);
    let bytes = metrics::counter!(names::WRITTEN, "port" => port);
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = Listener::accept(&mut listener) => accepted,
        };
        // Small frames must not wait for the acknowledgement of the last one.
        let _ = stream.set_nodelay(true);
        let (writes, bytes) = (writes.clone(), bytes.clone());
        let stream = InspectWriter::new(stream, move |written: &[u8]| {
            writes.increment(1);
            bytes.increment(written.len() as u64);
        });
        let connection = connection(stream, peer, router.clone(), handshake, stop.clone());
        connections.spawn(connection);
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    handshake: Duration,
    stop: CancellationToken,
) {
    let asked = CancellationToken::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        asked.cancel();
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut http = http1::Builder::new();
    // Counts the rest before a head as well. A slow head after the first one holds
    // no more than a connection that rests.
    http.timer(TokioTimer::new()).header_read_timeout(REST);
    let mut connection = pin!(
        http.serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let served = async {
        tokio::select! {
            // An error is the client's: it went away, or it does not speak HTTP.
            _ = connection.as_mut() => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    };
    tokio::select! {
        () = served => {}
        () = overdue(handshake, &asked) => {}
    }
}

/// Returns when nothing was asked in time, else never.
async fn overdue(handshake: Duration, asked: &CancellationToken) {
    if tokio::time::timeout(handshake, asked.cancelled())
        .await
        .is_ok()
    {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use anyhow::Context;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::serve;

    /// Who waits longer waits in vain.
    const PATIENCE: Duration = Duration::from_secs(30);
    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        ended: tokio::task::JoinHandle<()>,
    }

    impl Server {
        async fn start(handshake: Duration) -> anyhow::Result<Self> {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let router = Router::new().route("/", get(|| async { "here" }));
            let stop = CancellationToken::new();
            let served = serve(listener, "test", router, handshake, stop.clone());
            let ended = tokio::spawn(served);
            Ok(Self {
                address,
                stop,
                ended,
            })
        }

        async fn connect(&self) -> anyhow::Result<TcpStream> {
            Ok(TcpStream::connect(self.address).await?)
        }
    }

    async fn ask(client: &mut TcpStream) -> anyhow::Result<()> {
        client.write_all(REQUEST.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            anyhow::ensure!(client.read_buf(&mut answer).await? > 0, "no answer");
        }
        Ok(())
    }

    /// Returns when the server has closed, and fails when it has said something.
    async fn closed(mut client: TcpStream) -> anyhow::Result<()> {
        let mut said = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut said))
            .await
            .context("still open")??;
        anyhow::ensure!(said.is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_that_does_not_ask_in_time_is_closed() -> anyhow::Result<()> {
        let server = Server::start(Duration::from_millis(100)).await?;
        for head in ["", "GET /", &REQUEST[..REQUEST.len() - 2]] {
            let mut client = server.connect().await?;
            client.write_all(head.as_bytes()).await?;
            closed(client).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_that_has_asked_stays_open_for_the_next_request() -> anyhow::Result<()> {
        let server = Server::start(Duration::from_millis(500)).await?;
        let mut kept = server.connect().await?;
        ask(&mut kept).await?;
        // Opened later and closed for being silent: the time is over for both.
        closed(server.connect().await?).await?;
        ask(&mut kept).await
    }

    #[tokio::test]
    async fn the_end_waits_for_nobody_who_asks_nothing() -> anyhow::Result<()> {
        // Long enough not to be what ends it.
        let server = Server::start(2 * PATIENCE).await?;
        let mut resting = server.connect().await?;
        ask(&mut resting).await?;
        server.stop.cancel();
        server.ended.await?;
        closed(resting).await
    }
}
