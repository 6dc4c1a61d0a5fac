//! Pages of long logs over HTTP, beside the same rows by pgbench.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_e2e::Backstage;
use chat_e2e::load::{Cast, latencies};
use chat_events::{ConversationId, Service, UserId};
use chat_kit::pg::BY_KEY;
use chat_local::{ADMIN, programs};
use futures::future::try_join_all;
use rand::RngExt;
use sqlx::PgConnection;
use tokio::process::Command;

use crate::record::{Latency, Run};
use crate::stage::Stage;

const PAGE: i64 = 50;
const CLIENTS: usize = 4;

#[derive(clap::Args)]
pub struct Args {
    /// In all conversations together; ten million take six gigabytes.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    #[arg(long, default_value_t = 1_000)]
    conversations: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// A log, and who may read it.
struct Shelf {
    conversation: ConversationId,
    length: i64,
    token: String,
}

#[derive(Clone, Copy)]
enum Depth {
    Newest,
    First,
    Anywhere,
    Last,
}

impl Depth {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Newest, "newest page"),
        (Self::First, "page 1 before the end"),
        (Self::Anywhere, "any page"),
        (Self::Last, "the oldest page"),
    ];

    fn before(self, length: i64) -> Option<i64> {
        match self {
            Self::Newest => None,
            Self::First => Some(length),
            Self::Anywhere => Some(rand::rng().random_range(1..=length) + 1),
            Self::Last => Some((PAGE + 1).min(length)),
        }
    }
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.conversations > 1 && args.messages > 0,
        "more than nothing"
    );
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    eprintln!("writing {} messages", args.messages);
    let shelves = Arc::new(fill(&stage, &cast, args).await?);
    let url = stage.chat.door(Service::Messages, 0).url;
    let length = Duration::from_secs_f64(args.seconds);
    let floor = pgbench(&stage, &shelves, length).await?;
    for (depth, name) in Depth::ALL {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let counted = stage.counters().await?;
        let before = stage.parts.read()?;
        let (began, until) = (Instant::now(), Instant::now() + length);
        let pages = AtomicU64::new(0);
        let readers = (0..CLIENTS).map(async |_| {
            let mut times = latencies();
            while Instant::now() < until {
                let shelf = &shelves[zipf(shelves.len())];
                let mut request = client
                    .get(format!("{url}/api/messages"))
                    .bearer_auth(&shelf.token)
                    .query(&[("conversation", shelf.conversation.to_string())])
                    .query(&[("limit", PAGE)]);
                if let Some(place) = depth.before(shelf.length) {
                    request = request.query(&[("before", place)]);
                }
                let asked = Instant::now();
                let answer = request.send().await?.error_for_status()?.bytes().await?;
                times.saturating_record(asked.elapsed().as_micros() as u64);
                ensure!(answer.len() > 100, "an empty page");
                pages.fetch_add(1, Ordering::Relaxed);
            }
            Ok(times)
        });
        let mut times = latencies();
        for some in try_join_all(readers).await? {
            times.add(some)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let spent = before.until(&stage.parts.read()?);
        let units = pages.load(Ordering::Relaxed) as f64;
        let mut run = Run::new("history", name, "page")?;
        run.counters = stage.counters().await?.since(&counted, units);
        run.spent(&spent, units, seconds);
        run.latency
            .insert("the whole page".into(), Latency::of(&times));
        run.floor_us = Some(floor.0);
        run.figures
            .insert("pages a second of pgbench".into(), floor.1);
        run.figures.insert("messages".into(), args.messages as f64);
        run.notes.push("the floor is the CPU of PostgreSQL alone for the same rows, by pgbench, measured once before".into());
        run.save()?;
    }
    Ok(())
}

/// Logs by Zipf: the first has a share of one, the second of a half.
async fn fill(stage: &Stage, cast: &Cast<'_>, args: &Args) -> anyhow::Result<Vec<Shelf>> {
    let people = cast.people(2 * args.conversations).await?;
    let groups: Vec<Vec<UserId>> = people
        .chunks(2)
        .map(|two| two.iter().map(|one| one.id).collect())
        .collect();
    let conversations = cast.conversations(&groups).await?;
    let shares: f64 = (1..=args.conversations).map(|rank| 1.0 / rank as f64).sum();
    let mut database = stage.chat.database(Service::Messages).await?;
    let mut shelves = Vec::new();
    for (place, conversation) in conversations.into_iter().enumerate() {
        let share = args.messages as f64 / shares / (place + 1) as f64;
        let length = (share as i64).max(PAGE + 1);
        write(&mut database, conversation, groups[place][0], length).await?;
        shelves.push(Shelf {
            conversation,
            length,
            token: cast.token(&people[2 * place]),
        });
    }
    sqlx::query("vacuum analyze").execute(&mut database).await?;
    Ok(shelves)
}

async fn write(
    database: &mut PgConnection,
    conversation: ConversationId,
    sender: UserId,
    length: i64,
) -> anyhow::Result<()> {
    sqlx::query(
        "insert into messages (conversation_id, seq, id, sender_id, client_id, content, body_hash, created_at)
         select $1, seq, gen_random_uuid(), $2, gen_random_uuid(), repeat('word ', 40), decode(md5(seq::text), 'hex'), now()
         from generate_series(1, $3::bigint) seq",
    )
    .bind(conversation.0)
    .bind(sender.0)
    .bind(length)
    .execute(&mut *database)
    .await?;
    sqlx::query("update conversations set last_seq = $2 where id = $1")
        .bind(conversation.0)
        .bind(length)
        .execute(database)
        .await?;
    Ok(())
}

/// A place among so many, the first ones more often, as the lengths are.
fn zipf(count: usize) -> usize {
    let place = (count as f64).powf(rand::rng().random_range(0.0..1.0));
    (place as usize).min(count) - 1
}

/// Microseconds of PostgreSQL for a page, and pages in a second.
async fn pgbench(stage: &Stage, shelves: &[Shelf], length: Duration) -> anyhow::Result<(f64, f64)> {
    let postgres = programs::need("postgres", "postgresql")?;
    let pgbench = programs::beside(&postgres, "pgbench");
    let shelf = shelves.first().context("no conversation")?;
    let script = std::env::temp_dir().join(format!("chat-bench-{}.sql", std::process::id()));
    let reader = stage_member(stage, shelf).await?;
    std::fs::write(
        &script,
        format!(
            "\\set place random(51, {})\n\
             select seq, id, sender_id, client_id, content, created_at from messages\n\
             where conversation_id = '{conversation}' and seq < :place\n\
             and exists (select from members where conversation_id = '{conversation}' and user_id = '{reader}')\n\
             order by seq desc limit {PAGE};\n",
            shelf.length,
            conversation = shelf.conversation,
        ),
    )?;
    let handle = stage.stores.handle();
    // With a plan for the average log the floor would be twice as high.
    let settings: Vec<String> = BY_KEY
        .iter()
        .map(|(name, value)| format!("-c {name}={value}"))
        .collect();
    let before = stage.parts.read()?;
    let output = Command::new(pgbench)
        .args(["-n", "-M", "prepared", "-h", "127.0.0.1", "-U", ADMIN])
        .args(["-p", &handle.postgres_port.to_string()])
        .args(["-c", &CLIENTS.to_string()])
        .args(["-T", &length.as_secs().max(1).to_string()])
        .args([Path::new("-f"), &script])
        .arg(stage.chat.cluster().role(Service::Messages))
        .env("PGPASSWORD", &handle.password)
        .env("PGOPTIONS", settings.join(" "))
        .stderr(Stdio::inherit())
        .output()
        .await?;
    let spent = before.until(&stage.parts.read()?);
    std::fs::remove_file(script)?;
    ensure!(
        output.status.success(),
        "pgbench ended with {}",
        output.status
    );
    let said = String::from_utf8(output.stdout)?;
    let number = |before: &str, after: &str| -> anyhow::Result<f64> {
        let (_, rest) = said.split_once(before).context(before.to_owned())?;
        let digits = rest.split(after).next().unwrap_or_default();
        Ok(digits.trim().parse()?)
    };
    let pages = number("number of transactions actually processed:", "\n")?;
    let rate = number("tps =", "(")?;
    let postgres = spent.parts.get("postgresql").context("no PostgreSQL")?;
    Ok((postgres / pages, rate))
}

async fn stage_member(stage: &Stage, shelf: &Shelf) -> anyhow::Result<uuid::Uuid> {
    let mut database = stage.chat.database(Service::Messages).await?;
    Ok(
        sqlx::query_scalar("select user_id from members where conversation_id = $1 limit 1")
            .bind(shelf.conversation.0)
            .fetch_one(&mut database)
            .await?,
    )
}
