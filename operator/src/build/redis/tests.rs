use super::build;
use crate::build::fixture::{assert_built, chat, external};
use crate::resources::Resources;
use crate::validate::Redis;

#[test]
fn a_managed_redis() {
    let mut out = Resources::default();
    build(&chat(), &mut out);
    assert_built(&out, "redis");
}

#[test]
fn a_redis_of_somebody_else_is_not_built() {
    let mut chat = chat();
    chat.redis = Redis::External(external("redis.example.com", 6379));
    let mut out = Resources::default();
    build(&chat, &mut out);
    assert!(out.stateful_sets.is_empty() && out.secrets.is_empty());
}
