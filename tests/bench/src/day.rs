//! An ordinary day: people who open conversations, scroll back, look at their list,
//! write now and then, and lose their connection, in the mix that a large peer measured
//! per post. What a user costs says how many fit on a core.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chat_e2e::Backstage;
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::tape::{Glance, Letter, glance};
use chat_e2e::load::{Cast, Door, latencies};
use chat_events::{ConversationId, Service, UserId};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::record::{Latency, Run};
use crate::stage::Stage;

/// Of one person, each with one other.
const CONVERSATIONS: usize = 20;
/// In each conversation when the day begins.
const WRITTEN: i64 = 60;
const PAGE: i64 = 20;
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
const TEXT: usize = 120;

#[derive(clap::Args)]
pub struct Args {
    /// One after the other: so many users each time.
    #[arg(long, value_delimiter = ',', default_value = "1000,2000,4000")]
    users: Vec<usize>,
    /// Of each.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Seconds between two acts of a person, on average.
    #[arg(long, default_value_t = 20.0)]
    pause: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Open,
    Scroll,
    List,
    Post,
    Reconnect,
}

/// Per post; reactions and searches of the mix have no feature yet.
const MIX: [(Act, f64); 5] = [
    (Act::Open, 6.5),
    (Act::Scroll, 2.0),
    (Act::List, 1.0),
    (Act::Post, 1.0),
    (Act::Reconnect, 0.144),
];

impl Act {
    fn any() -> Self {
        let all: f64 = MIX.iter().map(|(_, weight)| weight).sum();
        let mut place = rand::rng().random_range(0.0..all);
        for (act, weight) in MIX {
            if place < weight {
                return act;
            }
            place -= weight;
        }
        Self::Open
    }
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    for users in args.users.iter().copied() {
        ensure!(users > CONVERSATIONS, "more users than {CONVERSATIONS}");
        eprintln!("{users} users");
        let people = cast.people(users).await?;
        // In a ring: everybody talks to the next ten, and to the ten before.
        let groups: Vec<Vec<UserId>> = (0..users)
            .flat_map(|one| {
                let people = &people;
                (1..=CONVERSATIONS / 2)
                    .map(move |step| vec![people[one].id, people[(one + step) % users].id])
            })
            .collect();
        let mut conversations = Vec::with_capacity(groups.len());
        for some in groups.chunks(10_000) {
            let ids = cast.conversations(some).await?;
            fill(&stage, &ids, some).await?;
            conversations.extend(ids);
        }
        let mut sockets = Vec::with_capacity(users);
        for some in people.chunks(AT_ONCE) {
            let open = some.iter().map(|member| cast.socket(member, 0));
            sockets.extend(try_join_all(open).await?);
        }
        let client = reqwest::Client::builder().no_proxy().build()?;
        let length = Duration::from_secs_f64(args.seconds);
        let until = Instant::now() + length;
        let before = stage.parts.read()?;
        let mut living = JoinSet::new();
        for (number, (member, socket)) in people.iter().zip(sockets).enumerate() {
            let mine = &conversations[number * CONVERSATIONS / 2..][..CONVERSATIONS / 2];
            let person = Person {
                token: cast.token(member),
                door: cast.door(0),
                url: stage.chat.door(Service::Messages, 0).url,
                client: client.clone(),
                letters: mine.iter().map(|id| (Letter::new(*id, TEXT), 0)).collect(),
                mine: mine.to_vec(),
                pause: args.pause,
                lived: Lived::new(),
            };
            living.spawn(person.live(socket, until));
        }
        let mut all = Lived::new();
        while let Some(lived) = living.join_next().await {
            all.add(&lived??)?;
        }
        let spent = before.until(&stage.parts.read()?);
        let mut run = Run::new("day", &format!("{users} users"), "user and second")?;
        run.spent(&spent, users as f64 * spent.seconds, spent.seconds);
        let cores = spent.total() / 1e6 / spent.seconds;
        for (name, histogram) in [("page or list", &all.asked), ("post stored", &all.posted)] {
            run.latency.insert(name.into(), Latency::of(histogram));
        }
        for (name, figure) in [
            ("users per core", users as f64 / cores),
            ("cores", cores),
            ("acts a second", all.acts as f64 / spent.seconds),
        ] {
            run.figures.insert(name.into(), figure);
        }
        run.notes.push("every post was heard stored once by its writer; reactions and searches are not in the mix yet".into());
        run.save()?;
    }
    Ok(())
}

/// Something to read in each conversation.
async fn fill(stage: &Stage, ids: &[ConversationId], groups: &[Vec<UserId>]) -> anyhow::Result<()> {
    let mut database = stage.chat.database(Service::Messages).await?;
    let writers = groups.iter().filter_map(|group| group.first());
    let writers: Vec<_> = writers.map(|user| user.0).collect();
    sqlx::query(
        "with log as (update conversations set last_seq = $3 where id = any($1))
         insert into messages (conversation_id, seq, id, sender_id, client_id, content, body_hash, created_at)
         select id, seq, gen_random_uuid(), writer, gen_random_uuid(), repeat('word ', 24), decode(md5(seq::text), 'hex'), now()
         from unnest($1::uuid[], $2::uuid[]) as log (id, writer), generate_series(1, $3::bigint) seq",
    )
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(writers)
    .bind(WRITTEN)
    .execute(&mut database)
    .await?;
    sqlx::query("analyze").execute(&mut database).await?;
    Ok(())
}

struct Lived {
    asked: Histogram<u64>,
    posted: Histogram<u64>,
    acts: u64,
}

impl Lived {
    fn new() -> Self {
        Self {
            asked: latencies(),
            posted: latencies(),
            acts: 0,
        }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.asked.add(&other.asked)?;
        self.posted.add(&other.posted)?;
        self.acts += other.acts;
        Ok(())
    }
}

struct Person {
    token: String,
    door: Door,
    url: String,
    client: reqwest::Client,
    mine: Vec<ConversationId>,
    letters: Vec<(Letter, u32)>,
    pause: f64,
    lived: Lived,
}

impl Person {
    async fn live(mut self, mut socket: RawSocket, until: Instant) -> anyhow::Result<Lived> {
        loop {
            // As long as it takes on average, by chance.
            let chance: f64 = rand::rng().random_range(f64::EPSILON..1.0);
            let pause = Duration::from_secs_f64(-chance.ln() * self.pause);
            let next = (Instant::now() + pause).min(until);
            listen_until(&mut socket, next).await?;
            if next >= until {
                return Ok(self.lived);
            }
            self.lived.acts += 1;
            self.act(&mut socket).await?;
        }
    }

    async fn act(&mut self, socket: &mut RawSocket) -> anyhow::Result<()> {
        let place = rand::rng().random_range(0..self.mine.len());
        let here = self.mine[place];
        match Act::any() {
            Act::Open => {
                self.get(&format!("/api/messages?conversation={here}"))
                    .await
            }
            Act::Scroll => {
                let before = rand::rng().random_range(PAGE..=WRITTEN);
                let path = format!("/api/messages?conversation={here}&before={before}");
                self.get(&path).await
            }
            Act::List => self.get("/api/conversations").await,
            Act::Post => self.post(socket, place).await,
            Act::Reconnect => {
                *socket = self.door.open(&self.token).await?;
                Ok(())
            }
        }
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<()> {
        let asked = Instant::now();
        let url = format!("{}{path}", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await?;
        answer.error_for_status()?.bytes().await?;
        let micros = asked.elapsed().as_micros() as u64;
        self.lived.asked.saturating_record(micros);
        Ok(())
    }

    async fn post(&mut self, socket: &mut RawSocket, place: usize) -> anyhow::Result<()> {
        let (letter, number) = &mut self.letters[place];
        let said = letter.said(*number).client_id.to_string();
        let meant = Instant::now();
        socket.sender().write(letter.number(*number)).await?;
        *number += 1;
        let stored = async {
            loop {
                let frame = socket.next().await?;
                if !matches!(glance(&frame)?, Glance::Stored(..)) {
                    continue;
                }
                let mut parts = frame.windows(said.len());
                if parts.any(|part| part == said.as_bytes()) {
                    return anyhow::Ok(());
                }
            }
        };
        if timeout(PATIENCE, stored)
            .await
            .context("a post was lost")?
            .is_err()
        {
            bail!("the socket ended while a post was under way");
        }
        let micros = meant.elapsed().as_micros() as u64;
        self.lived.posted.saturating_record(micros);
        Ok(())
    }
}

async fn listen_until(socket: &mut RawSocket, until: Instant) -> anyhow::Result<()> {
    let over = sleep_until(until.into());
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return Ok(()),
            heard = socket.next() => drop(heard?),
        }
        socket.rest();
    }
}
