//! A TCP proxy that breaks what passes through it, on purpose and for as long as
//! asked. It stands in front of a store, or of NGINX for the clients:
//!
//! ```no_run
//! # async fn test(stores: chat_local::StoresHandle) -> anyhow::Result<()> {
//! # use std::time::Duration;
//! use chat_e2e::proxy::{Faults, Frames, Proxy, Way};
//! let proxy = Proxy::amqp(stores.rabbitmq_port).await?; // RMQ_PORT is proxy.port()
//! proxy.set(Faults { latency: Duration::from_millis(50), ..Faults::default() });
//! proxy.set(Faults { frames: Frames::Doubled, ..Faults::default() });
//! proxy.set(Faults::stall(Way::ToClient)); // a half-open connection
//! proxy.reset(); // once, all that are open now
//! proxy.heal();
//! # Ok(())
//! # }
//! ```
//!
//! Faults hold for connections that are open already and for new ones. What was
//! sent meanwhile is late, not lost, unless the connection ended. Without a fault
//! every byte passes as it came; of AMQP, every delivery, in order and once.

mod amqp;
mod carry;
mod frames;
mod websocket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use chat_local::ports;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A direction, seen from whoever connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What happens to whole frames on their way to the client: deliveries of AMQP on a
/// [`Proxy::amqp`], text frames on a [`Proxy::websocket`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    #[default]
    Untouched,
    /// Each comes twice, one right after the other.
    Doubled,
    /// Those that come within a moment are mixed up, by [`Faults::seed`].
    Shuffled,
}

/// Everything that is wrong at the moment; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Each byte comes this much later, in either direction …
    pub latency: Duration,
    /// … and up to this much more. Bytes keep their order.
    pub jitter: Duration,
    /// Bytes in a second, of each connection in each direction.
    pub rate: Option<u64>,
    /// Nothing moves in that direction, and neither side is told.
    pub stall_to_server: bool,
    pub stall_to_client: bool,
    /// So many bytes more pass in that direction, then the connection ends.
    pub cut: Option<(Way, usize)>,
    /// Nobody listens; what is open stays open.
    pub refuse: bool,
    pub frames: Frames,
    /// Decides about jitter and shuffling.
    pub seed: u64,
}

impl Faults {
    pub fn stall(way: Way) -> Self {
        Self {
            stall_to_server: way == Way::ToServer,
            stall_to_client: way == Way::ToClient,
            ..Self::default()
        }
    }

    /// Both directions, as behind a firewall that drops everything.
    pub fn silence() -> Self {
        Self {
            stall_to_server: true,
            stall_to_client: true,
            ..Self::default()
        }
    }

    pub fn cut(way: Way, after: usize) -> Self {
        Self {
            cut: Some((way, after)),
            ..Self::default()
        }
    }

    pub fn refuse() -> Self {
        Self {
            refuse: true,
            ..Self::default()
        }
    }

    pub fn frames(frames: Frames) -> Self {
        Self {
            frames,
            ..Self::default()
        }
    }

    fn is_stalled(&self, way: Way) -> bool {
        match way {
            Way::ToServer => self.stall_to_server,
            Way::ToClient => self.stall_to_client,
        }
    }
}

/// What the proxy knows of the bytes that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Amqp,
    WebSocket,
}

/// Ends with all its connections when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What every connection of a proxy looks at.
struct Shared {
    faults: watch::Sender<Faults>,
    resets: watch::Sender<u64>,
    /// Where new connections lead.
    upstream: AtomicU16,
    /// Connections so far: each has a number.
    opened: AtomicU64,
    /// Frames that were doubled or moved.
    disturbed: AtomicU64,
}

impl Proxy {
    /// In front of a port on this machine.
    pub async fn start(upstream: u16) -> anyhow::Result<Self> {
        Self::of(Protocol::Unknown, Ipv4Addr::LOCALHOST, upstream).await
    }

    /// The same for those who reach this machine by another of its addresses.
    pub async fn start_at(address: Ipv4Addr, upstream: u16) -> anyhow::Result<Self> {
        Self::of(Protocol::Unknown, address, upstream).await
    }

    /// In front of a broker: deliveries can be doubled and shuffled as well. The
    /// tags of deliveries are counted anew for the client, and what it acknowledges
    /// is told to the broker when every copy was acknowledged.
    pub async fn amqp(upstream: u16) -> anyhow::Result<Self> {
        Self::of(Protocol::Amqp, Ipv4Addr::LOCALHOST, upstream).await
    }

    /// In front of a web server: frames of WebSockets can be doubled and shuffled as
    /// well.
    pub async fn websocket(upstream: u16) -> anyhow::Result<Self> {
        Self::of(Protocol::WebSocket, Ipv4Addr::LOCALHOST, upstream).await
    }

    async fn of(protocol: Protocol, address: Ipv4Addr, upstream: u16) -> anyhow::Result<Self> {
        // Below the ports of outgoing connections, which could take it while it is
        // refused.
        let address = SocketAddr::from((address, ports::free()?));
        let shared = Arc::new(Shared {
            faults: watch::Sender::default(),
            resets: watch::Sender::default(),
            upstream: AtomicU16::new(upstream),
            opened: AtomicU64::default(),
            disturbed: AtomicU64::default(),
        });
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("a proxy at {address}"))?;
        let accepting = tokio::spawn(accept(listener, address, protocol, shared.clone()));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address as a client of NGINX would write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this is wrong, and nothing else.
    pub fn set(&self, faults: Faults) {
        self.shared.faults.send_replace(faults);
    }

    pub fn heal(&self) {
        self.set(Faults::default());
    }

    /// Ends all that is open now without a goodbye; both sides get a reset.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|count| *count += 1);
    }

    /// New connections go to another server, as when a Service in Kubernetes finds
    /// that one is not ready.
    pub fn lead_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::Relaxed);
    }

    /// Connections so far.
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Frames so far that came twice, or not in their order.
    pub fn disturbed(&self) -> u64 {
        self.shared.disturbed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    protocol: Protocol,
    shared: Arc<Shared>,
) {
    let mut faults = shared.faults.subscribe();
    let mut links = JoinSet::new();
    let mut open = Some(listener);
    loop {
        let refuse = faults.borrow_and_update().refuse;
        match &open {
            Some(_) if refuse => open = None,
            None if !refuse => match TcpListener::bind(address).await {
                Ok(listener) => open = Some(listener),
                Err(error) => panic!("the proxy cannot listen again: {error}"),
            },
            _ => {}
        }
        let next = async {
            match &open {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            // Frees what ended links held.
            Some(_) = links.join_next(), if !links.is_empty() => {}
            accepted = next => {
                // Whoever came a moment before may not slip in, nor miss a reset.
                if let Ok((client, from)) = accepted
                    && !shared.faults.borrow().refuse
                {
                    let resets = shared.resets.subscribe();
                    links.spawn(link(client, from, protocol, resets, shared.clone()));
                }
            }
        }
    }
}

async fn link(
    mut client: TcpStream,
    from: SocketAddr,
    protocol: Protocol,
    mut resets: watch::Receiver<u64>,
    shared: Arc<Shared>,
) {
    let number = shared.opened.fetch_add(1, Ordering::Relaxed);
    let upstream = shared.upstream.load(Ordering::Relaxed);
    let Ok(mut server) = connect(from.ip(), upstream).await else {
        // Nobody is there; the client is told in the end.
        let _ = client.set_zero_linger();
        return;
    };
    let carried = tokio::select! {
        // Nothing more comes through, also when it heals at the same moment.
        biased;
        _ = resets.changed() => Err(carry::Broken),
        carried = carry::both_ways(&mut client, &mut server, protocol, number, &shared) => carried,
    };
    if carried.is_err() {
        // Either may be gone already.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// The server sees the client's own address, if that is one of this machine: some of its
/// limits are for each address.
async fn connect(from: IpAddr, upstream: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if from.is_loopback() {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, upstream));
    socket.connect(upstream).await
}
