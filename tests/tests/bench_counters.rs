//! What the servers are asked to do for a message, a delivery, a page and a resume:
//! counted, so that no busy machine changes it. The costs stand in `docs/performance.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::history::Recorder;
use chat_e2e::load::counters::Counters;
use chat_e2e::load::socket::frame;
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::{Cast, judge, pairs, room};
use chat_e2e::{Backstage, Chat, await_until};
use chat_events::{ClientFrame, ConversationId, Service, UserId};
use chat_local::testing::{OwnStores, own_stores};

const SOON: Duration = Duration::from_secs(20);
/// Of one socket while a room talks, be the machine ever so slow.
const HEARTBEATS: f64 = 3.0;
/// Bytes of WAL that tell once who is in a room, for each member: some rows and their
/// places in indexes. A notice for each member would take as much for each message.
const AUDIENCE: f64 = 300.0;

struct Stage {
    // Dropped in this order.
    chat: Chat,
    stores: OwnStores,
    recorder: Recorder,
    history: std::path::PathBuf,
}

impl Stage {
    async fn start() -> anyhow::Result<Self> {
        let (stores, cluster) = own_stores().await;
        Counters::prepare(&stores).await?;
        let name = format!("bench-counters-{}.jsonl", uuid::Uuid::new_v4());
        let history = std::env::temp_dir().join(name);
        Ok(Self {
            chat: Chat::start(cluster, |_| {}).await?,
            stores,
            recorder: Recorder::create(&history)?,
            history,
        })
    }

    async fn counters(&self) -> anyhow::Result<Counters> {
        Counters::read(&self.chat, &self.stores).await
    }
}

/// For each thousand units.
fn at_most(counters: &BTreeMap<String, f64>, name: &str, most: f64) -> anyhow::Result<()> {
    let count = counters
        .get(name)
        .with_context(|| format!("nobody counted {name}: {counters:?}"))?;
    eprintln!("{name}: {count:.1} of at most {most}");
    ensure!(*count <= most, "{count:.1} {name} instead of {most}");
    Ok(())
}

#[tokio::test]
async fn a_thousand_messages_under_load_share_their_commits_and_publishes() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let cast = Cast::new(&stage.chat).await?;
    let plan = pairs::Plan {
        active: 32,
        outstanding: 8,
        rate: None,
        length: Duration::from_secs(3),
        text: 256,
    };
    let pairs = pairs::meet(&cast, &stage.recorder, 120, 0).await?;
    let before = stage.counters().await?;
    let ran = pairs::run(&stage.recorder, pairs, &plan).await?;
    await_notices(&stage.chat, ran.messages as i64).await?;
    let counted = stage.counters().await?.since(&before, ran.messages as f64);
    ensure!(ran.messages > 500, "only {} messages", ran.messages);
    at_most(&counted, "commits, messages", 80.0)?;
    at_most(&counted, "commits, notifications", 50.0)?;
    at_most(&counted, "sql statements, messages", 250.0)?;
    at_most(&counted, "sql statements, notifications", 250.0)?;
    at_most(&counted, "bytes of WAL, messages", 1_300_000.0)?;
    at_most(&counted, "bytes of WAL, notifications", 1_300_000.0)?;
    at_most(&counted, "AMQP publishes", 200.0)?;
    judge(&stage.chat, &stage.recorder, ran.tapes, &stage.history).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_to_a_hundred_takes_no_more_commits_and_sends_than_one_to_ten()
-> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let cast = Cast::new(&stage.chat).await?;
    let (mut notices, mut tapes) = (0, Vec::new());
    let (mut costs, mut writes, mut wal) = (Vec::new(), Vec::new(), Vec::new());
    for members in [10, 100] {
        let plan = room::Plan {
            rate: None,
            length: Duration::from_secs(3),
            text: 256,
            slow: false,
        };
        let gathered = room::gather(&cast, &stage.recorder, members, 1, false).await?;
        let before = stage.counters().await?;
        let ran = room::run(&stage.recorder, gathered, &plan).await?;
        notices += ran.messages as i64 * (members - 1) as i64;
        await_notices(&stage.chat, notices).await?;
        ensure!(ran.messages > 5, "only {} messages", ran.messages);
        tapes.extend(ran.tapes);
        costs.push(stage.counters().await?.since(&before, ran.messages as f64));
        let heartbeats = HEARTBEATS / ran.messages as f64;
        writes.push(1_000.0 * (members as f64 * (1.0 + heartbeats) + 1.0));
        let audience = AUDIENCE * members as f64 / ran.messages as f64;
        wal.push(1_000.0 * audience);
    }
    for (few, name) in [
        (1_000.0, "commits, messages"),
        (1_000.0, "commits, notifications"),
    ] {
        for cost in &costs {
            // Leases and the outbox's own look-ups come on top.
            at_most(cost, name, 2.5 * few)?;
        }
    }
    // One write for each delivery, one for the answer to the writer, and heartbeats.
    for (cost, most) in costs.iter().zip(writes) {
        at_most(cost, "writes to sockets", most)?;
    }
    // A busy machine sends few messages, which share what is told once.
    for (cost, once) in costs.iter_mut().zip(wal) {
        let bytes = cost.get_mut("bytes of WAL, notifications");
        *bytes.context("nobody counted")? -= once;
        at_most(cost, "bytes of WAL, notifications", 1_300_000.0)?;
    }
    // Slower messages share fewer commits, whatever a commit takes.
    for cost in &mut costs {
        let commits = cost.get("commits, notifications");
        let commits = *commits.context("nobody counted")? / 1_000.0;
        if let Some(statements) = cost.get_mut("sql statements, notifications") {
            *statements /= commits;
        }
    }
    for name in [
        "sql statements, messages",
        "sql statements, notifications",
        "bytes of WAL, notifications",
        "AMQP publishes",
    ] {
        let (ten, hundred) = (costs[0].get(name), costs[1].get(name));
        let (ten, hundred) = ten.zip(hundred).context("nobody counted")?;
        eprintln!("{name}: {ten:.0} for ten, {hundred:.0} for a hundred");
        ensure!(
            *hundred < 1.5 * ten,
            "{ten} {name} for ten, {hundred} for a hundred"
        );
    }
    judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    Ok(())
}

#[tokio::test]
async fn a_page_of_a_log_is_one_statement_and_so_is_a_resume() -> anyhow::Result<()> {
    const TIMES: usize = 200;
    let stage = Stage::start().await?;
    let cast = Cast::new(&stage.chat).await?;
    let people = cast.people(2).await?;
    let group: Vec<UserId> = people.iter().map(|one| one.id).collect();
    let here = cast.conversations(&[group]).await?[0];
    write(&stage.chat, here, people[0].id, 400).await?;
    let token = cast.token(&people[0]);
    let messages = stage.chat.door(Service::Messages, 0).url;
    let page = format!("{messages}/api/messages?conversation={here}&limit=50&before=");
    let client = reqwest::Client::new();

    let before = stage.counters().await?;
    for number in 0..TIMES {
        let answer = client
            .get(format!("{page}{}", 60 + number))
            .bearer_auth(&token)
            .send()
            .await?;
        ensure!(answer.status() == 200, "{}", answer.status());
    }
    let counted = stage.counters().await?.since(&before, TIMES as f64);
    // Two for each page would be 2,000; leases are renewed meanwhile.
    at_most(&counted, "sql statements, messages", 1_900.0)?;

    let mut socket = cast.socket(&people[0], 0).await?;
    socket.next().await?;
    let before = stage.counters().await?;
    // No more than a socket may say in a minute.
    const RESUMES: i64 = 100;
    for after in 0..RESUMES {
        let resume = serde_json::to_vec(&ClientFrame::Resume {
            conversation_id: here,
            after,
        })?;
        socket.sender().write(&frame(&resume)).await?;
        let answer = loop {
            let answer = socket.next().await?;
            if !answer.starts_with(br#"{"type":"heartbeat""#) {
                break answer;
            }
        };
        ensure!(answer.starts_with(br#"{"type":"resumed""#), "{answer:?}");
    }
    let counted = stage.counters().await?.since(&before, RESUMES as f64);
    at_most(&counted, "sql statements, messages", 1_900.0)
}

#[tokio::test]
async fn a_page_near_the_end_of_a_long_log_reads_as_little_as_one_near_its_beginning()
-> anyhow::Result<()> {
    const LONG: i64 = 20_000;
    const PAGES: i64 = 50;
    let stage = Stage::start().await?;
    let cast = Cast::new(&stage.chat).await?;
    let people = cast.people(2).await?;
    let group: Vec<UserId> = people.iter().map(|one| one.id).collect();
    let here = cast.conversations(&[group]).await?[0];
    write(&stage.chat, here, people[0].id, LONG).await?;
    let token = cast.token(&people[0]);
    let messages = stage.chat.door(Service::Messages, 0).url;
    let client = reqwest::Client::new();
    let mut costs = Vec::new();
    for first in [100, LONG - PAGES] {
        let before = stage.counters().await?;
        for place in first..first + PAGES {
            let page = format!("{messages}/api/messages?conversation={here}&limit=50");
            let answer = client
                .get(format!("{page}&before={place}"))
                .bearer_auth(&token)
                .send()
                .await?;
            ensure!(answer.status() == 200, "{}", answer.status());
        }
        let counted = stage.counters().await?.since(&before, PAGES as f64);
        let blocks = counted.get("blocks looked at, messages");
        costs.push(blocks.copied().context("nobody counted")?);
    }
    let [beginning, end] = costs[..] else {
        anyhow::bail!("two costs");
    };
    ensure!(
        end < 2.0 * beginning,
        "{beginning:.0} blocks for 1,000 pages near the beginning, {end:.0} near the end"
    );
    Ok(())
}

#[tokio::test]
async fn who_comes_and_goes_asks_redis_for_little() -> anyhow::Result<()> {
    const TIMES: usize = 50;
    let stage = Stage::start().await?;
    let cast = Cast::new(&stage.chat).await?;
    let people = cast.people(TIMES).await?;
    let before = stage.counters().await?;
    for member in &people {
        let mut socket = cast.socket(member, 0).await?;
        socket.next().await?;
    }
    await_until("nobody on a socket", SOON, async || {
        let gauge = "chat_sockets{kind=\"chat\"}";
        let open = stage.chat.metric(Service::SocketHandler, 0, gauge).await?;
        Ok((open < 1.0).then_some(()))
    })
    .await?;
    let transitions = 2.0 * TIMES as f64;
    let counted = stage.counters().await?.since(&before, transitions);
    at_most(&counted, "Redis commands", 15_000.0)
}

async fn write(
    chat: &Chat,
    conversation: ConversationId,
    sender: UserId,
    count: i64,
) -> anyhow::Result<()> {
    let mut database = chat.database(Service::Messages).await?;
    sqlx::query(
        "with log as (update conversations set last_seq = $3 where id = $1)
         insert into messages (conversation_id, seq, id, sender_id, client_id, content, body_hash, created_at)
         select $1, seq, gen_random_uuid(), $2, gen_random_uuid(), 'text', decode(md5(seq::text), 'hex'), now()
         from generate_series(1, $3) seq",
    )
    .bind(conversation.0)
    .bind(sender.0)
    .bind(count)
    .execute(&mut database)
    .await?;
    sqlx::query("analyze").execute(&mut database).await?;
    Ok(())
}
