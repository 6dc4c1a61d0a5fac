//! Which service answers which public path: one table for NGINX, for the
//! Ingress and for the documents.

use crate::Service;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Service(Service),
    Client,
}

#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Matches the path itself and everything below it, never a look-alike
    /// such as `/wsfoo` for `/ws`.
    pub prefix: &'static str,
    pub backend: Backend,
    /// Long-lived: idle for an hour, never buffered.
    pub socket: bool,
}

const fn http(prefix: &'static str, service: Service) -> Route {
    Route {
        prefix,
        backend: Backend::Service(service),
        socket: false,
    }
}

const fn socket(prefix: &'static str, service: Service) -> Route {
    Route {
        prefix,
        backend: Backend::Service(service),
        socket: true,
    }
}

/// The longest matching prefix wins, whatever the order.
pub const ROUTES: [Route; 9] = [
    http("/api/auth", Service::Auth),
    http("/api/users", Service::Users),
    http("/api/messages", Service::Messages),
    http("/api/conversations", Service::Messages),
    http("/api/notifications", Service::Notifications),
    http("/api/socket-handler", Service::SocketHandler),
    socket("/ws/notifications", Service::Notifications),
    socket("/ws", Service::SocketHandler),
    Route {
        prefix: "/",
        backend: Backend::Client,
        socket: false,
    },
];
