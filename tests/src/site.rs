//! Where the services are reached.

/// An address that answers all public paths: NGINX, or one pod of one service.
#[derive(Clone, Debug)]
pub struct Site {
    /// Without a slash at the end.
    pub url: String,
    /// What a browser would send as Origin.
    pub origin: String,
}

impl Site {
    pub fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self {
            origin: url.clone(),
            url,
        }
    }

    /// Another door to the same site: the Origin stays.
    pub fn through(&self, url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            origin: self.origin.clone(),
        }
    }
}
