//! The objects of a validated ChatCluster. Pure: the same input gives the same bytes.

mod autoscaler;
mod certificate;
mod config_map;
pub mod delegated;
pub mod deployment;
#[cfg(test)]
mod fixture;
mod foreign;
mod http_route;
mod ingress;
pub mod login;
pub mod login_check;
pub mod meta;
pub mod migration;
pub mod network_policy;
mod pdb;
mod pod;
pub mod postgres;
pub mod rabbitmq;
pub mod redis;
mod scaled_object;
pub mod secret;
pub mod service;
mod service_account;
mod service_monitor;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use crate::resources::Resources;
use crate::validate::Validated;

/// Everything that there should be.
pub fn build(chat: &Validated) -> Resources {
    let mut out = Resources::default();
    service_account::build(chat, &mut out);
    secret::build(chat, &mut out);
    config_map::build(chat, &mut out);
    network_policy::build(chat, &mut out);
    service::build(chat, &mut out);
    postgres::build(chat, &mut out);
    rabbitmq::build(chat, &mut out);
    redis::build(chat, &mut out);
    delegated::build(chat, &mut out);
    migration::build(chat, &mut out);
    login_check::build(chat, &mut out);
    deployment::build(chat, &mut out);
    pdb::build(chat, &mut out);
    autoscaler::build(chat, &mut out);
    scaled_object::build(chat, &mut out);
    ingress::build(chat, &mut out);
    http_route::build(chat, &mut out);
    certificate::build(chat, &mut out);
    service_monitor::build(chat, &mut out);
    out
}
