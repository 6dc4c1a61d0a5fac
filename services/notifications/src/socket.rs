//! The notification socket.

mod hub;
pub mod join;
mod member;
mod session;

pub use hub::{Hub, NoticeFrame, item};
