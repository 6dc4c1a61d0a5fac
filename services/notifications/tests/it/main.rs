//! The service as a black box: the real binary on real servers, spoken to over
//! HTTP, sockets and the broker.

mod bad_input;
mod carried_over;
mod document;
mod earlier;
mod harness;
mod notices;
mod presence;
mod sockets;
