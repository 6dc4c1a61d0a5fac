//! History: paging and its cache.

use chat_events::{ConversationId, LogEvent, MessageView, Service, limits};
use chat_local::testing;
use serde_json::{Value, json};

use crate::stage::{Person, Replica, Stage, until};

/// At once; some of them for the same connection of the pool.
const ASKERS: usize = 20;

fn seqs(page: &Value) -> Vec<i64> {
    let messages: Vec<MessageView> =
        serde_json::from_value(page["messages"].clone()).expect("messages");
    messages.into_iter().map(|message| message.seq).collect()
}

async fn page(
    stage: &Stage,
    replica: &Replica,
    person: &Person,
    conversation: ConversationId,
    rest: &str,
) -> Value {
    let path = format!("/api/messages?conversation={conversation}{rest}");
    stage.get(replica, person, &path).await.assert(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_back_and_forth_gives_every_message_once_while_new_ones_arrive() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    for n in 0..23 {
        stage.say(conversation, &anna, &n.to_string()).await;
    }
    let ask = async |rest: String| page(&stage, &replica, &ben, conversation, &rest).await;
    let mut back = Vec::new();
    let mut rest = "&limit=5".to_owned();
    loop {
        let page = ask(rest).await;
        back.splice(0..0, seqs(&page));
        // Somebody writes, and somebody reads, between any two pages.
        stage.say(conversation, &anna, "meanwhile").await;
        match page["prev_cursor"].as_i64() {
            Some(cursor) => rest = format!("&limit=5&before={cursor}"),
            None => {
                assert_eq!(page["has_before"], false);
                break;
            }
        }
    }
    assert_eq!(back, (1..=23).collect::<Vec<_>>());
    let mut forth = Vec::new();
    let mut after = 0;
    while forth.len() < 28 {
        let page = ask(format!("&limit=5&after={after}")).await;
        forth.extend(seqs(&page));
        after = *forth.last().expect("messages");
    }
    assert_eq!(forth, (1..=28).collect::<Vec<_>>());
    let around = ask("&limit=4&around=10".to_owned()).await;
    assert_eq!(seqs(&around), [8, 9, 10, 11]);
    assert_eq!(
        (&around["prev_cursor"], &around["next_cursor"]),
        (&json!(8), &json!(11))
    );
    let end = ask("&after=28".to_owned()).await;
    assert_eq!(
        (seqs(&end), &end["has_after"], &end["has_before"]),
        (vec![], &json!(false), &json!(true))
    );
    let start = ask("&before=1".to_owned()).await;
    assert_eq!((seqs(&start), &start["has_after"]), (vec![], &json!(true)));
    assert_eq!(seqs(&ask(String::new()).await).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_page_is_never_stale() {
    let (stage, replica) = Stage::with_replica().await;
    let two = stage.replica("two").await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    for n in 1..=30 {
        let seq = stage.say(conversation, &anna, &n.to_string()).await;
        for replica in [&replica, &two, &two] {
            let seen = page(&stage, replica, &ben, conversation, "&limit=3").await;
            assert_eq!(seqs(&seen).last(), Some(&seq));
            assert_eq!(seen["seq"], seq);
        }
    }
    stage.read(conversation, &ben, 30).await;
    until("the read mark shows", async || {
        let seen = page(&stage, &two, &anna, conversation, "&limit=3").await;
        let mark = json!({ "user_id": ben.id, "up_to": 30 });
        seen["reads"]
            .as_array()
            .is_some_and(|marks| marks.contains(&mark))
            .then_some(())
    })
    .await;
    // The pages did come from Redis: change one there, and it shows.
    let mut redis = stage.cluster.stores.redis().await.expect("Redis");
    let prefix = format!(
        "{}:{}:newest:{conversation}:31:*",
        stage.cluster.name,
        Service::Messages.name()
    );
    page(&stage, &replica, &ben, conversation, "&limit=3").await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(&prefix)
        .query_async(&mut redis)
        .await
        .expect("keys");
    let [key] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    let kept: String = redis::cmd("GET")
        .arg(key)
        .query_async(&mut redis)
        .await
        .expect("a page");
    let changed = kept.replace("\"30\"", "\"from Redis\"");
    redis::cmd("SET")
        .arg(key)
        .arg(changed)
        .exec_async(&mut redis)
        .await
        .expect("set");
    let seen = page(&stage, &two, &ben, conversation, "&limit=3").await;
    assert_eq!(seen["messages"][2]["content"], "from Redis");
}

async fn misses(replica: &Replica) -> usize {
    let metrics = reqwest::get(replica.admin_url("/metrics")).await;
    let metrics = metrics.expect("metrics").text().await.expect("text");
    let name = "chat_cache_total{result=\"miss\"} ";
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.parse().ok());
    count.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_page_is_read_once_for_all_who_ask_at_the_same_time() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    stage.say(conversation, &anna, "hello").await;
    let before = misses(&replica).await;
    let mut locker = stage.begin().await;
    let lock = sqlx::query("lock table messages in access exclusive mode");
    lock.execute(&mut *locker).await.expect("locked");
    let asked = (0..ASKERS).map(|number| {
        let person = if number % 2 == 0 { &anna } else { &ben };
        page(&stage, &replica, person, conversation, "&limit=7")
    });
    let unlock = async {
        until("all have asked Redis", async || {
            (misses(&replica).await >= before + ASKERS).then_some(())
        })
        .await;
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        until("one waits for the lock", async || {
            (stage.count(waiting).await > 0).then_some(())
        })
        .await;
        assert_eq!(stage.count(waiting).await, 1);
        locker.commit().await.expect("unlocked");
    };
    let (pages, ()) = futures::join!(futures::future::join_all(asked), unlock);
    for page in &pages {
        assert_eq!(seqs(page), [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_long_messages_ends_at_what_a_socket_takes_and_the_rest_follows() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    let longest = "\u{1F642}".repeat(limits::CONTENT_CHARS);
    for _ in 0..40 {
        stage.say(conversation, &anna, &longest).await;
    }
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let path = format!("/api/messages/events?conversation={conversation}&after={after}");
        let page = stage.get(&replica, &ben, &path).await.assert(200);
        let events: Vec<LogEvent> = serde_json::from_value(page["events"].clone()).expect("events");
        let seqs: Vec<i64> = events.iter().map(LogEvent::seq).collect();
        assert_eq!(
            seqs,
            (after + 1..=after + seqs.len() as i64).collect::<Vec<_>>()
        );
        assert!(page["events"].to_string().len() <= limits::OUT_QUEUE / 4);
        assert!(!events.is_empty());
        pages.push(events.len());
        after += events.len() as i64;
        if page["complete"] == true {
            break;
        }
    }
    assert_eq!((after, pages.len()), (40, 3), "{pages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_goes_on() {
    let (stores, cluster) = testing::own_stores().await;
    let stage = Stage::of(cluster).await;
    let replica = stage.replica("one").await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    stage.say(conversation, &anna, "with").await;
    page(&stage, &replica, &ben, conversation, "").await;
    stores.redis.kill().await.expect("Redis is killed");
    for n in 2..=5 {
        assert_eq!(stage.say(conversation, &anna, "without").await, n);
        assert_eq!(
            seqs(&page(&stage, &replica, &ben, conversation, "").await).len() as i64,
            n
        );
    }
    replica.ready().await;
    stores.redis.start().await.expect("Redis starts");
    assert_eq!(stage.say(conversation, &anna, "with again").await, 6);
    assert_eq!(
        seqs(&page(&stage, &replica, &ben, conversation, "").await).len(),
        6
    );
}
