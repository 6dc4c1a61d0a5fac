//! Accounts: made by signing up, looked at by their owner.

pub mod current_user;
pub mod names;
pub mod sign_up;
