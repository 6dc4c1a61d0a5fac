//! messages as a black box: the real binary, on real servers.

mod bad_input;
mod conversations;
mod dead_letters;
mod document;
mod pages;
mod reads;
mod replicas;
mod sends;
mod stage;
