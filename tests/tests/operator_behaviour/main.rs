//! The operator as a process, on a real API server, with the rights that it says it
//! needs and no others.
//!
//! There is no node: a stand-in for the kubelet says of every pod that it is ready.
//! All the rest, from Deployments to garbage collection, is Kubernetes' own.

mod convergence;
mod delegated;
mod drift;
mod examples;
mod faults;
mod harness;
mod health;
mod kubelet;
mod leadership;
mod metrics;
mod optional;
mod others;
mod outage;
mod ownership;
mod passwords;
mod process;
mod proxy;
mod quiet;
mod removal;
mod rights;
mod rollout;
mod secrets;
mod switches;
mod traces;
