//! The notification socket.

mod hub;
pub mod join;
mod mailbox;
mod session;
mod wheel;

pub use hub::Hub;
pub use mailbox::End;
