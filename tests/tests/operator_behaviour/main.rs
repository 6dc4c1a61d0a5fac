//! The operator as a process, on a real API server, with the rights that it says it
//! needs and no others.
//!
//! There is no node: a stand-in for the kubelet says of every pod that it is ready.
//! All the rest, from Deployments to garbage collection, is Kubernetes' own.

mod convergence;
mod drift;
mod faults;
mod harness;
mod kubelet;
mod leadership;
mod optional;
mod ownership;
mod process;
mod proxy;
mod quiet;
mod removal;
mod secrets;
mod switches;
