//! The service as a black box: the real binary on real servers, spoken to over
//! HTTP, the broker and the leases in Redis.

mod bad_input;
mod cache;
mod document;
mod events;
mod harness;
mod list;
mod outage;
mod presence;
mod profile;
