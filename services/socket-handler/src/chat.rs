//! The endpoints, one file each.

pub mod connect;
pub mod create_room;
pub mod join_room;
mod room;
