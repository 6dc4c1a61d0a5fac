//! What comes in from outside and is read without a server: the bodies of broker
//! messages, the frames of both sockets, and access tokens. `docs/reliability.md`
//! says where the other targets are.

mod events;
mod frames;
mod made;
mod tokens;
