//! Ports on the machine's loopback that lead into the node, for browsers and kubectl.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Listener};
use std::time::Duration;

use anyhow::Result;
use chat_local::ports;
use tokio::net::{TcpListener, TcpStream};

/// A listener keeps the network in which it was made, whoever uses it.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    leads_to: SocketAddr,
}

impl Door {
    /// To a port of the node. The wanted one, or another that is free.
    pub fn make(wanted: u16, port_inside: u16) -> Result<Self> {
        let port = ports::prefer(wanted)?;
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let leads_to = (Ipv4Addr::LOCALHOST, port_inside).into();
        Ok(Self { listener, leads_to })
    }

    /// To the same port inside: one address is right on both sides.
    pub fn straight() -> Result<Self> {
        let port = ports::free()?;
        Self::make(port, port)
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Passes on what comes, until its runtime ends.
    pub async fn serve(self) -> Result<Infallible> {
        let listener = TcpListener::from_std(self.listener)?;
        loop {
            match listener.accept().await {
                Ok((outside, _)) => drop(tokio::spawn(pass(outside, self.leads_to))),
                Err(error) => {
                    tracing::warn!("a connection was not taken: {error}");
                    // It may be that no more files can be open.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Whoever hangs up first ends it; it is for the other side to say why.
async fn pass(mut outside: TcpStream, leads_to: SocketAddr) -> io::Result<()> {
    let mut inside = TcpStream::connect(leads_to).await?;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
