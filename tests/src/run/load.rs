//! What people do meanwhile: mostly writing, and now and then everything else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::crowd::Crowd;
use super::under_load::LoadPlan;
use crate::ChatClient;

const TICK: Duration = Duration::from_millis(20);
/// A client with so many unsent messages writes no more of them.
const PATIENT: usize = 60;
/// Seconds between two acts of a kind, whatever the rate.
const RECONNECT: f64 = 1.0;
const MEET: f64 = 4.0;
const VISIT: f64 = 4.0;
/// Each step of a visit; longer than any strike and what is to recover from it.
const PATIENCE: Duration = Duration::from_secs(120);
/// A refresh that was not answered may be said again for so long (10 s, less the way).
const REFRESH: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_millis(300);

pub struct Load {
    crowd: Arc<Crowd>,
    rng: StdRng,
    rate: f64,
    acts: JoinSet<anyhow::Result<()>>,
    visits: JoinSet<anyhow::Result<()>>,
}

/// Comes due so often that it keeps its pace on average.
struct Pace {
    every: f64,
    due: f64,
}

impl Pace {
    fn every(seconds: f64) -> Self {
        Self {
            every: seconds,
            due: 0.0,
        }
    }

    fn after(&mut self, passed: Duration) -> u32 {
        self.due += passed.as_secs_f64() / self.every;
        let now = self.due.floor();
        self.due -= now;
        now as u32
    }
}

impl Load {
    pub fn new(crowd: &Arc<Crowd>, plan: &LoadPlan) -> Self {
        Self {
            crowd: crowd.clone(),
            rng: StdRng::seed_from_u64(plan.seed),
            rate: plan.rate,
            acts: JoinSet::new(),
            visits: JoinSet::new(),
        }
    }

    /// Never ends; dropped and called again, it goes on.
    pub async fn go(&mut self) -> ! {
        let mut write = Pace::every(1.0 / self.rate);
        let mut reconnect = Pace::every(RECONNECT);
        let mut meet = Pace::every(MEET);
        let mut visit = Pace::every(VISIT);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            ticks.tick().await;
            let passed = before.elapsed();
            before += passed;
            for _ in 0..write.after(passed) {
                self.write();
            }
            for _ in 0..reconnect.after(passed) {
                let client = self.anybody();
                let away = Duration::from_millis(self.rng.random_range(50..3_000));
                self.acts.spawn(reconnect_after(client, away));
            }
            for _ in 0..meet.after(passed) {
                if let Some((one, other)) = self.crowd.strangers() {
                    let crowd = self.crowd.clone();
                    self.acts.spawn(async move { crowd.meet(one, other).await });
                }
            }
            for _ in 0..visit.after(passed) {
                let person = self.rng.random_range(0..self.crowd.people.len());
                let stay = Duration::from_millis(self.rng.random_range(500..6_000));
                self.visits
                    .spawn(Box::pin(visit_for(self.crowd.clone(), person, stay)));
            }
        }
    }

    /// Waits for whoever is in the middle of something. What was done to somebody who
    /// did nothing wrong is told in words.
    pub async fn finish(self) -> Vec<String> {
        let (_, mut complaints) = ended(self.acts).await;
        let (visits, of_visitors) = ended(self.visits).await;
        complaints.extend(of_visitors);
        if visits == 0 {
            complaints.push("nobody signed in, got new cookies and signed out".to_owned());
        }
        complaints
    }

    fn anybody(&mut self) -> Arc<ChatClient> {
        let clients = &self.crowd.clients;
        clients[self.rng.random_range(0..clients.len())].clone()
    }

    /// Somebody writes; now and then they read or type as well.
    fn write(&mut self) {
        let number = self.rng.random_range(0..self.crowd.clients.len());
        let client = &self.crowd.clients[number];
        let rng = &mut self.rng;
        // The older conversations are the livelier ones.
        let conversation = self.crowd.talk(self.crowd.person(number), |count| {
            rng.random_range(0..count).min(rng.random_range(0..count))
        });
        if client.state().outbox.len() < PATIENT {
            let words = "and so on ".repeat(rng.random_range(0..12));
            client.send(conversation, &format!("{} {words}", rng.random::<u32>()));
            self.crowd.count_one_more();
        }
        if rng.random_ratio(1, 10) {
            let newest = client.state().logs.get(&conversation).and_then(|log| {
                let of_others = log
                    .messages()
                    .filter(|message| message.sender_id != client.person.id);
                of_others.map(|message| message.seq).last()
            });
            if let Some(newest) = newest {
                client.read(conversation, newest);
            }
        }
        if rng.random_ratio(1, 20) {
            client.types(conversation);
        }
    }
}

async fn reconnect_after(client: Arc<ChatClient>, away: Duration) -> anyhow::Result<()> {
    client.go_offline();
    sleep(away).await;
    client.go_online();
    Ok(())
}

/// How many ended well, and in words how the others did not.
async fn ended(mut acts: JoinSet<anyhow::Result<()>>) -> (u64, Vec<String>) {
    let (mut well, mut complaints) = (0, Vec::new());
    while let Some(ended) = acts.join_next().await {
        match ended.map_err(anyhow::Error::from).flatten() {
            Ok(()) => well += 1,
            Err(error) => complaints.push(format!("{error:#}")),
        }
    }
    (well, complaints)
}

/// A person signs in on another machine, gets new cookies and signs out there; again
/// while auth is away for so long that nobody can say what became of the cookies.
async fn visit_for(crowd: Arc<Crowd>, person: usize, stay: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !visit(&crowd, person, stay).await? {
        ensure!(Instant::now() < deadline, "no visitor gets new cookies");
    }
    Ok(())
}

/// Whether the visitor got new cookies.
async fn visit(crowd: &Crowd, person: usize, stay: Duration) -> anyhow::Result<bool> {
    let host = &crowd.people[person];
    let deadline = Instant::now() + PATIENCE;
    let guest = loop {
        match host.sign_in_elsewhere().await {
            Ok(guest) => break guest,
            Err(_) if Instant::now() < deadline => sleep(AGAIN).await,
            Err(error) => return Err(error.context("nobody lets a visitor sign in")),
        }
    };
    let tab = ChatClient::recorded(&guest, &crowd.recorder);
    tab.await_state("the connection of a visitor", PATIENCE, |state| {
        state.connected.then_some(())
    })
    .await?;
    for number in 0..3 {
        tab.send(crowd.talk(person, |_| 0), &format!("a visit, {number}"));
    }
    let refreshed = refresh(&tab).await?;
    sleep(stay).await;
    let deadline = Instant::now() + PATIENCE;
    // An answer that was lost may have been a yes.
    while let Err(error) = tab.sign_out().await {
        if tab.state().signed_out {
            break;
        }
        if Instant::now() > deadline {
            return Err(error.context("nobody lets a visitor sign out"));
        }
        sleep(AGAIN).await;
    }
    tab.await_state("the end of a visitor's session", PATIENCE, |state| {
        state.signed_out.then_some(())
    })
    .await?;
    tab.stop().await?;
    Ok(refreshed)
}

/// New cookies, if there is an answer in time. Saying it again after a lost answer must
/// not end the session.
async fn refresh(tab: &ChatClient) -> anyhow::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < REFRESH {
        let left = REFRESH.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, tab.person.refresh()).await {
            Ok(Ok(answer)) if answer.status == 200 => return Ok(true),
            Ok(Ok(answer)) if answer.status == 401 => bail!(
                "{} lost a session by saying a refresh again: {answer}",
                tab.person.username
            ),
            _ => sleep(AGAIN).await,
        }
    }
    Ok(false)
}
