//! socket-handler as a black box: the real binary on real RabbitMQ and Redis.
//! auth, users and messages are played by the test, which so decides what they
//! answer and when they are away; `chat-e2e` runs the same paths on the real ones.

mod chat;
mod document;
mod ends;
mod neighbours;
mod outage;
mod rooms;
mod socket;
mod upgrade;
mod world;
