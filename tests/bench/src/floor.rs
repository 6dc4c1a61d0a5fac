//! Physical limits: the same work with nothing around it, measured in the same minutes
//! as the chat, by the same program. Each takes about a second.

mod amqp;
mod pg;
mod pure;
mod redis;
mod ws;

use std::io::Write;
use std::time::Duration;

use chat_e2e::load::usage::Spent;
use chat_local::Stores;

/// Of each floor.
pub const LENGTH: Duration = Duration::from_millis(1_200);

#[derive(Clone, Debug)]
pub struct Floor {
    pub name: &'static str,
    pub unit: &'static str,
    /// Microseconds of the server for one unit.
    pub server_us: f64,
    /// Microseconds of whoever asks, where that is a part of the work, too.
    pub client_us: f64,
    pub per_second: f64,
}

impl Floor {
    /// Of a server that other processes use: only its own work counts.
    fn of_server(name: &'static str, unit: &'static str, spent: &Spent, units: f64) -> Self {
        Self {
            name,
            unit,
            server_us: spent.total() / units,
            client_us: 0.0,
            per_second: units / spent.seconds,
        }
    }

    /// Of a store: its services pay for asking as well.
    fn of_store(name: &'static str, unit: &'static str, spent: &Spent, units: f64) -> Self {
        Self {
            client_us: spent.own / units,
            ..Self::of_server(name, unit, spent, units)
        }
    }

    pub fn cpu_us(&self) -> f64 {
        self.server_us + self.client_us
    }
}

/// What a message from one to one is made of.
pub async fn of_message(stores: &Stores) -> anyhow::Result<Vec<Floor>> {
    Ok(vec![
        ws::echo(64).await?,
        amqp::batches(stores).await?,
        pg::unnest(stores).await?,
        pure::json()?,
    ])
}

/// Four events are read and written on the way, three are carried by the broker, and
/// two rows are written: the message and its notice.
pub fn message_us(floor: impl Fn(&str) -> f64) -> f64 {
    floor("ws-echo") + 3.0 * floor("amqp-batch") + 2.0 * floor("pg-unnest") + 4.0 * floor("json")
}

pub async fn fan_out() -> anyhow::Result<Floor> {
    ws::fan_out(1_000).await
}

pub fn argon2() -> anyhow::Result<Floor> {
    pure::argon2()
}

pub async fn all() -> anyhow::Result<()> {
    let (stores, _cluster) = chat_local::testing::own_stores().await;
    let floors = [
        ws::echo(64).await?,
        ws::echo(1_000).await?,
        ws::fan_out(1_000).await?,
        ws::accept().await?,
        amqp::one(&stores).await?,
        amqp::many(&stores).await?,
        amqp::batches(&stores).await?,
        pg::single(&stores).await?,
        pg::unnest(&stores).await?,
        pg::copy(&stores).await?,
        redis::one(&stores).await?,
        redis::pipelines(&stores).await?,
        pure::argon2()?,
        pure::jwt()?,
        pure::json()?,
    ];
    let mut out = std::io::stdout();
    for floor in floors {
        writeln!(
            out,
            "{:14} {:>10.0} × {:10} a second {:>10.2} µs of the server {:>8.2} of its client",
            floor.name, floor.per_second, floor.unit, floor.server_us, floor.client_us
        )?;
        let mut run = crate::record::Run::new("floor", floor.name, floor.unit)?;
        run.units = floor.per_second;
        run.seconds = 1.0;
        run.cpu_us = floor.cpu_us();
        run.figures.insert("server µs".into(), floor.server_us);
        run.figures.insert("client µs".into(), floor.client_us);
        run.append()?;
    }
    Ok(())
}
