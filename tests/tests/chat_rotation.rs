//! The key of tokens changes, stage by stage as the operator does it, while people
//! sign in, refresh, ask every service and hold sockets: nobody is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_e2e::{
    Browser, Chat, ChatSocket, Incoming, NoticeSocket, Person, Refused, Socket, await_until,
};
use chat_events::{ConversationId, Service};
use futures::future::{try_join, try_join_all};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Pairs of people who know each other.
const PAIRS: usize = 6;
/// Two rounds of everybody, and the restart of a pod, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two rounds of one person.
const PAUSE: Duration = Duration::from_millis(50);
const NEW: &str = "the key of tokens after the rotation, long enough";
/// One path of each service, and both sockets.
const PATHS: [&str; 6] = [
    "/api/auth/currentuser",
    "/api/users",
    "/api/conversations",
    "/api/notifications",
    "/ws/chat",
    "/ws/notifications/join",
];

#[tokio::test]
async fn a_rotation_under_load_refuses_nobody() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let old = secret(&chat)?;
    let pairs = try_join_all((0..PAIRS).map(|_| chat.two_people())).await?;
    let sockets = try_join_all(pairs.iter().map(Sockets::open)).await?;
    let first = &pairs[0].0;
    let held = first.cookie("auth").context("no access token")?;
    let crowd = Crowd::gather(pairs.iter().flat_map(|(one, other, _)| [one, other]));

    crowd.do_a_round().await?;
    roll(&chat, &crowd, &[("JWT_KEY_PREVIOUS", NEW)]).await?;
    ensure!(published(first).await?.len() == 2, "announced in vain");
    // At once: the other services may not have asked for the keys since.
    let swapped = [("JWT_KEY", NEW), ("JWT_KEY_PREVIOUS", old.as_str())];
    roll(&chat, &crowd, &swapped).await?;
    ensure!(published(first).await?.len() == 2);
    crowd.do_a_round().await?;
    // In place of the ten minutes after which no token of the old key is about.
    let new = crowd.renew(&key_id(&held)?).await?;
    roll(&chat, &crowd, &[("JWT_KEY", NEW)]).await?;
    ensure!(published(first).await? == BTreeSet::from([new.clone()]));
    crowd.do_a_round().await?;
    let tally = crowd.disperse().await?;

    ensure!(tally.refused.is_empty(), "{:#?}", tally.refused);
    // With both keys, at every service: or there was nothing to refuse.
    for path in PATHS {
        for key in [&key_id(&held)?, &new] {
            ensure!(
                tally.answers(path, key) > 0,
                "{path} was not asked with {key}"
            );
        }
    }
    try_join_all(sockets.into_iter().map(Sockets::are_open)).await?;
    // The old key opens nothing any more.
    let late = Browser::new(&chat.site)?;
    late.set_cookie("auth", &held);
    for path in PATHS {
        await_until(path, PATIENCE, async || {
            Ok((ask(&late, path).await? == 401).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Replaces the pods of auth one after the other, with other settings.
async fn roll(chat: &Chat, crowd: &Crowd, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    for replica in 0..2 {
        if replica == 1 {
            // The old and the new pod are asked in turns.
            crowd.do_a_round().await?;
        }
        let pod = chat.pod(Service::Auth, replica);
        pod.stop().await?;
        pod.set_env(settings).await;
        pod.start().await?;
    }
    Ok(())
}

/// What two people hold open all the time.
struct Sockets {
    talks: [JoinHandle<anyhow::Result<ChatSocket>>; 2],
    notices: JoinHandle<anyhow::Result<NoticeSocket>>,
    conversation: ConversationId,
    stop: CancellationToken,
}

impl Sockets {
    async fn open(
        (ada, ben, conversation): &(Person, Person, ConversationId),
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let talks = try_join(ChatSocket::open(ada), ChatSocket::open(ben)).await?;
        let notices = NoticeSocket::join(ben).await?;
        Ok(Self {
            talks: <[_; 2]>::from(talks).map(|talk| tokio::spawn(hold(talk, stop.clone()))),
            notices: tokio::spawn(hold(notices, stop.clone())),
            conversation: *conversation,
            stop,
        })
    }

    /// None was closed, and a message passes through all three.
    async fn are_open(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let [ada, ben] = self.talks;
        let (mut ada, mut ben) = (ada.await??, ben.await??);
        let sent = ada.say(self.conversation, "still here").await?;
        ada.await_stored(sent).await?;
        ben.await_stored(sent).await?;
        self.notices
            .await??
            .await_frame("the notice", PATIENCE, |frame| {
                format!("{frame:?}").contains("still here").then_some(())
            })
            .await
    }
}

/// Reads until `stop`: who does not answer the server's pings is left.
async fn hold<F: DeserializeOwned + Debug>(
    mut socket: Socket<F>,
    stop: CancellationToken,
) -> anyhow::Result<Socket<F>> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(socket),
            incoming = socket.next(PATIENCE) => if let Incoming::Closed(code) = incoming? {
                bail!("a socket was closed with {code:?}");
            },
        }
    }
}

/// People who do everything again and again.
struct Crowd {
    people: Vec<Arc<Member>>,
    tasks: JoinSet<()>,
}

struct Member {
    person: Person,
    habit: Habit,
    rounds: AtomicUsize,
    renew: AtomicBool,
    leave: AtomicBool,
    tally: Mutex<Tally>,
}

/// Beside asking every service.
#[derive(Clone, Copy)]
enum Habit {
    /// Keeps the access token until there is no other way.
    Keep,
    /// Refreshes in every round.
    Refresh,
    /// Signs in and out in another browser in every round.
    SignIn,
}

#[derive(Default)]
struct Tally {
    /// Good answers by path and key of the token.
    good: BTreeMap<(&'static str, String), usize>,
    refused: Vec<String>,
}

impl Tally {
    fn answers(&self, path: &'static str, key: &str) -> usize {
        self.good
            .get(&(path, key.to_owned()))
            .copied()
            .unwrap_or_default()
    }
}

impl Crowd {
    fn gather<'a>(people: impl Iterator<Item = &'a Person>) -> Self {
        let habits = [Habit::Keep, Habit::Refresh, Habit::SignIn];
        let people: Vec<_> = people
            .zip(habits.into_iter().cycle())
            .map(|(person, habit)| {
                Arc::new(Member {
                    person: person.clone(),
                    habit,
                    rounds: AtomicUsize::new(0),
                    renew: AtomicBool::new(false),
                    leave: AtomicBool::new(false),
                    tally: Mutex::default(),
                })
            })
            .collect();
        let mut tasks = JoinSet::new();
        for member in &people {
            tasks.spawn(Arc::clone(member).go_on());
        }
        Self { people, tasks }
    }

    /// Comes back when everybody has begun and ended a round.
    async fn do_a_round(&self) -> anyhow::Result<()> {
        let rounds = |member: &Arc<Member>| member.rounds.load(Ordering::SeqCst);
        let before: Vec<_> = self.people.iter().map(rounds).collect();
        await_until("a round", PATIENCE, async || {
            let mut now = self.people.iter().map(rounds).zip(&before);
            // The first that ends may have begun before.
            Ok(now.all(|(now, before)| now >= before + 2).then_some(()))
        })
        .await
    }

    /// Comes back when nobody has a token of the old key any more; returns the new key.
    async fn renew(&self, old: &str) -> anyhow::Result<String> {
        for member in &self.people {
            member.renew.store(true, Ordering::SeqCst);
        }
        self.do_a_round().await?;
        let mut keys = BTreeSet::new();
        for member in &self.people {
            keys.insert(member.key()?);
        }
        let new = keys.pop_first().context("no key")?;
        ensure!(new != old && keys.is_empty(), "{old}, {new}, {keys:?}");
        Ok(new)
    }

    async fn disperse(mut self) -> anyhow::Result<Tally> {
        for member in &self.people {
            member.leave.store(true, Ordering::SeqCst);
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        let mut all = Tally::default();
        for member in &self.people {
            let tally = std::mem::take(&mut *member.tally());
            all.refused.extend(tally.refused);
            for (key, count) in tally.good {
                *all.good.entry(key).or_default() += count;
            }
        }
        Ok(all)
    }
}

impl Member {
    async fn go_on(self: Arc<Self>) {
        while !self.leave.load(Ordering::SeqCst) {
            if matches!(self.habit, Habit::Refresh) || self.renew.load(Ordering::SeqCst) {
                self.refresh().await;
            }
            if matches!(self.habit, Habit::SignIn) {
                self.sign_in_and_out().await;
            }
            for path in PATHS {
                self.ask(path).await;
            }
            self.rounds.fetch_add(1, Ordering::SeqCst);
            sleep(PAUSE).await;
        }
    }

    async fn ask(&self, path: &'static str) {
        let Ok(key) = self.key() else {
            return self.note_refusal("no access token");
        };
        // What a restarting pod leaves unanswered is asked again in the next round.
        match ask(&self.person, path).await {
            Ok(401) => self.note_refusal(&format!("{path} with {key}")),
            Ok(200..300 | 101) => *self.tally().good.entry((path, key)).or_default() += 1,
            _ => {}
        }
    }

    async fn refresh(&self) {
        self.insist(&self.person, "/api/auth/refresh", json!({}))
            .await;
    }

    async fn sign_in_and_out(&self) {
        let person = &self.person;
        let Ok(browser) = Browser::new(&person.site) else {
            return self.note_refusal("no browser");
        };
        let body = json!({ "email": person.email, "password": person.password });
        self.insist(&browser, "/api/auth/signin", body).await;
        // Or the twenty-first session would end the first.
        self.insist(&browser, "/api/auth/signout", json!({})).await;
    }

    /// Until there is an answer: a refresh token whose answer was lost is good again
    /// for ten seconds only.
    async fn insist(&self, browser: &Browser, path: &str, body: Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match browser.post(path, &body).await.map(|it| it.status) {
                Ok(200..300) => return,
                Ok(503) | Err(_) if Instant::now() < deadline => {}
                other => return self.note_refusal(&format!("{path}: {other:?}")),
            }
            sleep(PAUSE).await;
        }
    }

    fn key(&self) -> anyhow::Result<String> {
        key_id(&self.person.cookie("auth").context("no access token")?)
    }

    fn note_refusal(&self, what: &str) {
        let note = format!("{}: {what}", self.person.username);
        self.tally().refused.push(note);
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status of the answer; 101 when a socket was opened.
async fn ask(browser: &Browser, path: &str) -> anyhow::Result<u16> {
    if !path.starts_with("/ws/") {
        return Ok(browser.get(path).await?.status);
    }
    let origin = browser.site.origin.clone();
    match ChatSocket::connect(browser, path, Some(&origin)).await {
        Ok(_) => Ok(101),
        Err(error) => Ok(error.downcast::<Refused>()?.status),
    }
}

/// The ids of the keys that auth publishes.
async fn published(browser: &Browser) -> anyhow::Result<BTreeSet<String>> {
    let set = browser.get("/api/auth/jwks").await?.expect(200)?;
    let keys = set["keys"].as_array().context("no keys")?;
    Ok(keys
        .iter()
        .filter_map(|key| key["kid"].as_str().map(str::to_owned))
        .collect())
}

fn key_id(token: &str) -> anyhow::Result<String> {
    let header = BASE64.decode(token.split('.').next().unwrap_or_default())?;
    let header: Value = serde_json::from_slice(&header)?;
    Ok(header["kid"].as_str().context("no key id")?.to_owned())
}

fn secret(chat: &Chat) -> anyhow::Result<String> {
    let env = chat.cluster().env(Service::Auth);
    let key = env.into_iter().find(|(name, _)| name == "JWT_KEY");
    Ok(key.context("no JWT_KEY")?.1)
}
