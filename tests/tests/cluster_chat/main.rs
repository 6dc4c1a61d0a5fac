//! The product on a real Kubernetes node: our images as Pods, made by our operator from
//! a manifest, reached through an NGINX ingress controller. Run by
//! `cargo xtask test --only cluster`; the tests run inside the network of the node, one
//! after the other.

mod askers;
mod harness;
mod load;
mod manifest;
mod migration;
mod outside;
mod readme;
mod removal;
mod stores;
mod upgrade;
