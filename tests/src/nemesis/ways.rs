//! The ways between the parts of a chat: services reach each store, and clients NGINX,
//! through a proxy that breaks what passes.

use std::time::Duration;

use anyhow::Context;
use chat_local::StoresHandle;

use super::{Fault, Target};
use crate::Site;
use crate::proxy::{Faults, Frames, Proxy, Way};

const LATENCY: Duration = Duration::from_millis(40);
const JITTER: Duration = Duration::from_millis(160);
/// Bytes in a second of each connection; busy ones have more to say.
const NARROW: u64 = 100_000;
/// A connection that is cut carries at most so many bytes.
const CUT: u64 = 8_192;

pub struct Ways(Vec<(Target, Proxy)>);

impl Ways {
    pub async fn to_stores(stores: &StoresHandle) -> anyhow::Result<Self> {
        let postgresql = Proxy::start(stores.postgres_port).await?;
        let rabbitmq = Proxy::amqp(stores.rabbitmq_port).await?;
        let redis = Proxy::start(stores.redis_port).await?;
        Ok(Self(vec![
            (Target::PostgreSql, postgresql),
            (Target::RabbitMq, rabbitmq),
            (Target::Redis, redis),
        ]))
    }

    /// Settings with which services take them.
    pub fn env(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().filter_map(|(target, way)| {
            let port = way.port();
            let (name, value) = match target {
                Target::PostgreSql => ("DB_PORT", port.to_string()),
                Target::RabbitMq => ("RMQ_PORT", port.to_string()),
                Target::Redis => ("REDIS_HOST", format!("127.0.0.1:{port}")),
                Target::Nginx | Target::Pod(..) => return None,
            };
            Some((name.to_owned(), value))
        })
    }

    /// The door for clients.
    pub async fn to_site(&mut self, site: &Site) -> anyhow::Result<Site> {
        let (_, port) = site.url.rsplit_once(':').context("no port")?;
        let way = Proxy::start(port.parse()?).await?;
        let door = site.through(&way.url());
        self.0.push((Target::Nginx, way));
        Ok(door)
    }

    pub(super) fn to(&self, target: Target) -> anyhow::Result<&Proxy> {
        let way = self.0.iter().find(|(to, _)| *to == target);
        let (_, way) = way.with_context(|| format!("there is no way to {target}"))?;
        Ok(way)
    }
}

/// What is wrong with a way for as long as the fault lasts. `seed` decides what is up to
/// chance.
pub(super) fn wrong(fault: Fault, seed: u64) -> Faults {
    let faults = match fault {
        Fault::Slow => Faults {
            latency: LATENCY,
            jitter: JITTER,
            ..Faults::default()
        },
        Fault::Narrow => Faults {
            rate: Some(NARROW),
            ..Faults::default()
        },
        Fault::Deaf => Faults::stall(Way::ToServer),
        Fault::Mute => Faults::stall(Way::ToClient),
        Fault::Cut if seed.is_multiple_of(2) => Faults::cut(Way::ToServer, (seed % CUT) as usize),
        Fault::Cut => Faults::cut(Way::ToClient, (seed % CUT) as usize),
        Fault::Repeat => Faults::frames(Frames::Doubled),
        // Not done to what passes.
        Fault::Kill | Fault::Freeze | Fault::Restart | Fault::Reset | Fault::Alarm => {
            Faults::default()
        }
    };
    Faults { seed, ..faults }
}
