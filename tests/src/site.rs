//! Where the services are reached.

use std::net::SocketAddr;

/// An address that answers all public paths: NGINX, or one pod of one service.
#[derive(Clone, Debug)]
pub struct Site {
    /// Without a slash at the end.
    pub url: String,
    /// What a browser would send as Origin.
    pub origin: String,
    /// Where that is, when the name in the URL leads nowhere.
    pub address: Option<SocketAddr>,
}

impl Site {
    pub fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self {
            origin: url.clone(),
            url,
            address: None,
        }
    }

    /// The site at an address, whatever name servers say.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        Self {
            address: Some(address),
            ..self
        }
    }

    /// Another door to the same site: the Origin stays.
    #[must_use]
    pub fn through(&self, url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            origin: self.origin.clone(),
            address: None,
        }
    }
}
