//! Two by two: one writes, the other hears it. A socket may say 120 frames in a minute,
//! so a pair that has said its share gives its place to a rested one; as many pairs as
//! were asked for are at it at any moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chat_events::{ConversationId, UserId, limits};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio_util::task::AbortOnDropHandle;

use super::pace::{self, Due};
use super::people::Cast;
use super::socket::RawSocket;
use super::tape::{Glance, Letter, Tape, glance};
use crate::history::Recorder;

/// Of each of the two.
const SHARE: u32 = limits::FRAMES_PER_WINDOW - 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// How often those that rest are looked after; a ping comes every 20 s.
const SKIM: Duration = Duration::from_secs(10);
/// How many sockets open at the same time.
const AT_ONCE: usize = 64;

#[derive(Clone, Debug)]
pub struct Plan {
    /// At it at any moment.
    pub active: usize,
    /// Messages of a pair that nobody has heard yet; without a meaning for a rate.
    pub outstanding: u32,
    /// Messages in a second of all pairs, or as fast as it goes.
    pub rate: Option<f64>,
    pub length: Duration,
    /// Bytes of a text.
    pub text: usize,
}

pub struct Pair {
    conversation: ConversationId,
    ends: [End; 2],
}

struct End {
    socket: RawSocket,
    tape: Tape,
    /// The last number of the log that it heard.
    seq: i64,
}

/// Latencies are in microseconds, from the moment at which the message was meant to leave.
pub struct Ran {
    pub messages: u64,
    /// From the first message to the last one that was heard.
    pub seconds: f64,
    pub accepted: Histogram<u64>,
    pub delivered: Histogram<u64>,
    /// There were not enough pairs to go on for so long.
    pub ran_out: bool,
    pub tapes: Vec<Tape>,
}

/// Pairs with both sockets open, the second one on pod `other`.
///
/// # Errors
/// When people or sockets cannot be had.
pub async fn meet(
    cast: &Cast<'_>,
    recorder: &Recorder,
    count: usize,
    other: usize,
) -> anyhow::Result<Vec<Pair>> {
    let people = cast.people(2 * count).await?;
    let groups: Vec<Vec<UserId>> = people
        .chunks(2)
        .map(|two| two.iter().map(|one| one.id).collect())
        .collect();
    let conversations = cast.conversations(&groups).await?;
    let mut pairs = Vec::with_capacity(count);
    let all: Vec<_> = conversations.into_iter().zip(people.chunks(2)).collect();
    for some in all.chunks(AT_ONCE) {
        let open = some.iter().map(async |(conversation, two)| {
            let opened = [(&two[0], 0), (&two[1], other)].map(async |(member, pod)| {
                let since = recorder.now();
                let mut socket = cast.socket(member, pod).await?;
                // Its hello.
                socket.next().await?;
                anyhow::Ok(End {
                    socket,
                    tape: Tape {
                        user: member.id,
                        since,
                        said: Vec::new(),
                        heard: Vec::new(),
                    },
                    seq: 0,
                })
            });
            let [one, two] = opened;
            let (one, two) = tokio::try_join!(one, two)?;
            anyhow::Ok(Pair {
                conversation: *conversation,
                ends: [one, two],
            })
        });
        pairs.extend(try_join_all(open).await?);
    }
    for (pair, group) in pairs.iter().zip(&groups) {
        recorder.conversation(pair.conversation, group);
    }
    Ok(pairs)
}

/// # Errors
/// When the server refuses something, leaves a message away, or falls silent.
pub async fn run(recorder: &Recorder, pairs: Vec<Pair>, plan: &Plan) -> anyhow::Result<Ran> {
    let rested = Arc::new(Mutex::new(pairs));
    let until = Instant::now() + plan.length;
    let dues: Vec<Option<Due>> = match plan.rate {
        None => (0..plan.active).map(|_| None).collect(),
        Some(rate) => pace::every(rate, plan.length, plan.active)
            .into_iter()
            .map(Some)
            .collect(),
    };
    let skimmer = AbortOnDropHandle::new(tokio::spawn(skim(rested.clone())));
    let began = Instant::now();
    let players = dues.into_iter().map(|due| {
        let player = Player {
            recorder: recorder.clone(),
            rested: rested.clone(),
            plan: plan.clone(),
            until,
            due,
            heard: Heard::new(),
        };
        tokio::spawn(player.play())
    });
    let mut ran = Heard::new();
    for played in try_join_all(players).await? {
        ran.add(played?)?;
    }
    drop(skimmer);
    let unused = std::mem::take(&mut *lock(&rested));
    ran.tapes.extend(unused.into_iter().flat_map(Pair::tapes));
    Ok(Ran {
        messages: ran.messages,
        seconds: ran.last.duration_since(began).as_secs_f64(),
        accepted: ran.accepted,
        delivered: ran.delivered,
        ran_out: ran.ran_out,
        tapes: ran.tapes,
    })
}

/// The server closes a socket that does not answer.
async fn skim(rested: Arc<Mutex<Vec<Pair>>>) {
    let mut turns = tokio::time::interval(SKIM);
    loop {
        turns.tick().await;
        for end in lock(&rested).iter_mut().flat_map(|pair| &mut pair.ends) {
            // Whoever takes the pair next is told.
            let _ = end.socket.skim();
        }
    }
}

fn lock(pairs: &Mutex<Vec<Pair>>) -> std::sync::MutexGuard<'_, Vec<Pair>> {
    pairs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pair {
    fn tapes(self) -> impl Iterator<Item = Tape> {
        self.ends.into_iter().map(|end| end.tape)
    }
}

struct Heard {
    messages: u64,
    accepted: Histogram<u64>,
    delivered: Histogram<u64>,
    last: Instant,
    ran_out: bool,
    tapes: Vec<Tape>,
}

impl Heard {
    fn new() -> Self {
        Self {
            messages: 0,
            accepted: super::latencies(),
            delivered: super::latencies(),
            last: Instant::now(),
            ran_out: false,
            tapes: Vec::new(),
        }
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.messages += other.messages;
        self.accepted.add(other.accepted)?;
        self.delivered.add(other.delivered)?;
        self.last = self.last.max(other.last);
        self.ran_out |= other.ran_out;
        self.tapes.extend(other.tapes);
        Ok(())
    }
}

struct Player {
    recorder: Recorder,
    rested: Arc<Mutex<Vec<Pair>>>,
    plan: Plan,
    until: Instant,
    due: Option<Due>,
    heard: Heard,
}

/// One of the two writes.
#[derive(Default)]
struct Turn {
    meant: Vec<Instant>,
    accepted: u32,
    /// By the other one.
    delivered: u32,
    /// By whoever wrote it.
    own: u32,
}

impl Turn {
    fn sent(&self) -> u32 {
        self.meant.len() as u32
    }

    fn is_answered(&self) -> bool {
        let sent = self.sent();
        self.accepted == sent && self.delivered == sent && self.own == sent
    }
}

impl Player {
    async fn play(mut self) -> anyhow::Result<Heard> {
        'pairs: while Instant::now() < self.until {
            let Some(mut pair) = lock(&self.rested).pop() else {
                self.heard.ran_out = true;
                break;
            };
            for _ in 0..2 {
                let goes_on = self.turn(&mut pair).await?;
                pair.ends.reverse();
                if !goes_on {
                    self.heard.tapes.extend(pair.tapes());
                    break 'pairs;
                }
            }
            self.heard.tapes.extend(pair.tapes());
        }
        Ok(self.heard)
    }

    /// The first end writes its share. Whether there is time for more.
    async fn turn(&mut self, pair: &mut Pair) -> anyhow::Result<bool> {
        let mut letter = Letter::new(pair.conversation, self.plan.text);
        let sender = pair.ends[0].socket.sender();
        let mut turn = Turn::default();
        let mut over = false;
        loop {
            let full = turn.sent() == SHARE;
            if self.due.is_none() {
                over |= Instant::now() >= self.until;
                while !over
                    && turn.sent() < SHARE
                    && turn.sent() - turn.delivered < self.plan.outstanding
                {
                    self.send(&mut turn, &mut letter, pair, &sender, Instant::now())
                        .await?;
                }
            }
            if (over || turn.sent() == SHARE) && turn.is_answered() {
                return Ok(!over);
            }
            let [one, two] = &mut pair.ends;
            tokio::select! {
                read = one.socket.fill() => {
                    read.context("the writer's socket")?;
                    self.listen(&mut turn, &mut pair.ends[0], true)?;
                }
                read = two.socket.fill() => {
                    read.context("the reader's socket")?;
                    self.listen(&mut turn, &mut pair.ends[1], false)?;
                }
                due = next(&mut self.due), if !over && !full => match due {
                    Some(due) => self.send(&mut turn, &mut letter, pair, &sender, due).await?,
                    None => over = true,
                },
                () = tokio::time::sleep(PATIENCE), if !turn.is_answered() => bail!(
                    "nothing within {PATIENCE:?}: {} sent, {} accepted, {} heard",
                    turn.sent(), turn.accepted, turn.delivered
                ),
            }
        }
    }

    async fn send(
        &mut self,
        turn: &mut Turn,
        letter: &mut Letter,
        pair: &mut Pair,
        sender: &super::socket::RawSender,
        meant: Instant,
    ) -> anyhow::Result<()> {
        let number = turn.sent();
        let said = (self.recorder.now(), letter.said(number));
        pair.ends[0].tape.said.push(said);
        turn.meant.push(meant);
        self.heard.messages += 1;
        sender.write(letter.number(number)).await?;
        Ok(())
    }

    fn listen(&mut self, turn: &mut Turn, end: &mut End, wrote: bool) -> anyhow::Result<()> {
        while let Some(frame) = end.socket.take()? {
            let glance = glance(&frame)?;
            let (number, latencies) = match glance {
                Glance::Other => continue,
                Glance::Accepted(number) => {
                    turn.accepted += 1;
                    (number, Some(&mut self.heard.accepted))
                }
                Glance::Stored(number, seq) => {
                    anyhow::ensure!(seq == end.seq + 1, "{seq} came after {}", end.seq);
                    end.seq = seq;
                    if wrote {
                        turn.own += 1;
                        (number, None)
                    } else {
                        turn.delivered += 1;
                        (number, Some(&mut self.heard.delivered))
                    }
                }
            };
            let now = Instant::now();
            let meant = turn.meant.get(number as usize).context("a strange id")?;
            if let Some(latencies) = latencies {
                latencies.saturating_record(now.duration_since(*meant).as_micros() as u64);
            }
            self.heard.last = now;
            end.tape.heard.push((self.recorder.now(), frame));
        }
        Ok(())
    }
}

async fn next(due: &mut Option<Due>) -> Option<Instant> {
    match due {
        Some(due) => due.recv().await,
        None => std::future::pending().await,
    }
}
