//! Verbs for tests of the whole chat: people, sockets, clients and the stack
//! that they talk to. One file per subject lies in `tests/`. [`StandInAuth`] and
//! the forged tokens serve the services' own tests as well.

mod answer;
mod await_until;
mod backstage;
mod chat;
pub mod checker;
mod client;
pub mod collector;
mod forged;
pub mod fuzz;
pub mod history;
pub mod load;
mod log;
pub mod nemesis;
mod person;
pub mod planted_bugs;
pub mod proxy;
pub mod run;
mod seed;
mod site;
pub mod socket;
mod stand_in;
mod talk;

pub use answer::Answer;
pub use await_until::await_until;
pub use backstage::Backstage;
pub use chat::Chat;
pub use client::{ChatClient, Gap, Outgoing, State};
pub use forged::{COUNT as FORGED_TOKENS, Forge, Forged};
pub use log::Log;
pub use person::{Browser, Person};
pub use site::Site;
pub use socket::{ChatSocket, Incoming, NoticeSocket, Refused, Socket};
pub use stand_in::{SignedIn, StandInAuth};
pub use talk::Talk;
