//! Accounts: made by signing up, looked at and protected by their owner.

pub mod change_password;
pub mod current_user;
pub mod names;
pub mod sign_up;
