//! auth as a black box: the binary, on real PostgreSQL and RabbitMQ.

mod account;
mod breached;
mod browser;
mod change_password;
mod document;
mod input;
mod keys;
mod names;
mod outbox;
mod refresh;
mod release;
mod server;
mod sign_in;
mod sign_out;
mod throttle;
mod timing;
