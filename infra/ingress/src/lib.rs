//! A small ingress controller for tests: the distribution's NGINX, with a
//! configuration that is generated from the Ingress objects of one class.
//!
//! It is made for machines that can have none of the well-known controllers, and does
//! what a chat needs: hosts, paths, TLS with a redirect to it, and of the annotations
//! of F5's controller `nginx.org/client-max-body-size`, `proxy-read-timeout`,
//! `proxy-send-timeout` and `websocket-services`. Requests go to the address of a
//! Service, not to each pod, so that only a changed Ingress, Service or certificate
//! makes NGINX read its configuration anew; open sockets stay.

mod config;
mod nginx;
mod paths;

pub use config::{Found, Ports, Rendered, render};
pub use nginx::Nginx;

/// Everything that runs it in a cluster, for `kubectl apply`. Its image is made by
/// `chat_images::ingress`.
pub const MANIFEST: &str = include_str!("../manifest.yaml");
