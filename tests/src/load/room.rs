//! One conversation of many: each message goes to everybody. Lock step (the next
//! message when the last member has the one before) or so many in a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_events::{ConversationId, UserId, limits};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::pace;
use super::people::Cast;
use super::socket::{RawSender, RawSocket};
use super::tape::{Glance, Letter, Tape, glance};
use crate::history::Recorder;

/// Members whose frames are kept and judged; of the others the numbers are looked at.
const TAPED: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 64;
/// Members who come between two looks at what the others have heard.
const SKIMMED: usize = 1_024;
/// Of one writer.
const SHARE: u32 = limits::FRAMES_PER_WINDOW - 10;

#[derive(Clone, Debug)]
pub struct Plan {
    /// Messages in a second, or lock step.
    pub rate: Option<f64>,
    pub length: Duration,
    pub text: usize,
    /// One more member, who does not read.
    pub slow: bool,
}

pub struct Room {
    conversation: ConversationId,
    seats: Vec<Seat>,
    slow: Option<RawSocket>,
}

struct Seat {
    socket: RawSocket,
    tape: Tape,
}

/// Latencies are in microseconds, from the moment at which the message was meant to leave.
pub struct Ran {
    pub messages: u64,
    pub deliveries: u64,
    pub members: usize,
    pub seconds: f64,
    /// Of each message, until the last member had it.
    pub last: Histogram<u64>,
    /// Of each delivery.
    pub delivered: Histogram<u64>,
    pub tapes: Vec<Tape>,
}

/// A room whose members are open on `pods` pods in turn. Members are made in the tables.
///
/// # Errors
/// When people or sockets cannot be had.
pub async fn gather(
    cast: &Cast<'_>,
    recorder: &Recorder,
    members: usize,
    pods: usize,
    slow: bool,
) -> anyhow::Result<Room> {
    let people = cast.people(members + usize::from(slow)).await?;
    let group: Vec<UserId> = people.iter().map(|one| one.id).collect();
    let conversation = cast.conversations(std::slice::from_ref(&group)).await?[0];
    recorder.conversation(conversation, &group);
    let mut seats = Vec::with_capacity(members);
    let places: Vec<_> = people.iter().take(members).zip((0..pods).cycle()).collect();
    for some in places.chunks(AT_ONCE) {
        let open = some.iter().map(async |(member, pod)| {
            let since = recorder.now();
            let mut socket = cast.socket(member, *pod).await?;
            // Its hello.
            socket.next().await?;
            anyhow::Ok(Seat {
                socket,
                tape: Tape {
                    user: member.id,
                    since,
                    said: Vec::new(),
                    heard: Vec::new(),
                },
            })
        });
        seats.extend(try_join_all(open).await?);
        // Many take longer than a server waits for the answer to a ping.
        if seats.len() % SKIMMED < AT_ONCE {
            for seat in &mut seats {
                seat.socket.skim()?;
            }
        }
    }
    let slow = match people.get(members) {
        Some(member) => Some(cast.socket(member, 0).await?),
        None => None,
    };
    Ok(Room {
        conversation,
        seats,
        slow,
    })
}

/// Who has how much of what.
struct Board {
    start: Instant,
    /// Of each message, by its place in the log: how many have it, and when the last
    /// one got it, in microseconds since the start.
    got: Vec<(AtomicU32, AtomicU64)>,
    /// When it was meant to leave.
    meant: Vec<AtomicU64>,
    members: u32,
    changed: Notify,
}

impl Board {
    fn new(members: usize, capacity: usize) -> Self {
        Self {
            start: Instant::now(),
            got: (0..capacity).map(|_| Default::default()).collect(),
            meant: (0..capacity).map(|_| AtomicU64::default()).collect(),
            members: members as u32,
            changed: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn has(&self, message: usize) -> bool {
        self.got[message].0.load(Ordering::Acquire) == self.members
    }

    /// Waits until everybody has the messages from `missing` up to `messages`.
    async fn await_all(&self, mut missing: usize, messages: usize) -> anyhow::Result<()> {
        let all = async {
            loop {
                let changed = self.changed.notified();
                while missing < messages && self.has(missing) {
                    missing += 1;
                }
                if missing == messages {
                    return;
                }
                changed.await;
            }
        };
        let done = timeout(PATIENCE, all).await;
        ensure!(
            done.is_ok(),
            "not everybody has the {messages} messages within {PATIENCE:?}"
        );
        Ok(())
    }
}

/// # Errors
/// When somebody misses a message, hears one twice, or hears it too late.
pub async fn run(recorder: &Recorder, room: Room, plan: &Plan) -> anyhow::Result<Ran> {
    let members = room.seats.len();
    let capacity = members * SHARE as usize;
    let board = Arc::new(Board::new(members, capacity));
    let writers: Vec<RawSender> = room.seats.iter().map(|seat| seat.socket.sender()).collect();
    let mut listeners = JoinSet::new();
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    for (place, seat) in room.seats.into_iter().enumerate() {
        let (board, recorder, stopped) = (board.clone(), recorder.clone(), stopped.clone());
        listeners.spawn(async move {
            let heard = seat.listen(&board, &recorder, place < TAPED, stopped).await;
            heard.map(|heard| (place, heard))
        });
    }
    let mut writer = Writer {
        letter: Letter::new(room.conversation, plan.text),
        writers,
        said: Vec::new(),
        recorder: recorder.clone(),
        board: board.clone(),
    };
    let work = writer.write(plan, capacity);
    let outcome = tokio::select! {
        outcome = work => outcome,
        ended = listeners.join_next() => match ended {
            Some(Ok(Err(error))) => Err(error),
            _ => Err(anyhow::anyhow!("a listener ended")),
        },
    };
    let seconds = board.start.elapsed().as_secs_f64();
    outcome?;
    stopping.send_replace(true);
    let messages = writer.said.len();
    let mut ran = Ran {
        messages: messages as u64,
        deliveries: (messages * members) as u64,
        members,
        seconds,
        last: super::latencies(),
        delivered: super::latencies(),
        tapes: Vec::new(),
    };
    while let Some(ended) = listeners.join_next().await {
        let (place, (mut tape, latencies)) = ended??;
        ensure!(
            latencies.len() == messages,
            "member {place} has {} of {messages} messages",
            latencies.len()
        );
        for latency in latencies {
            ran.delivered.saturating_record(u64::from(latency));
        }
        // Whoever wrote is a client, whether the frames were kept or not.
        tape.said = writer.said_by(place);
        if place < TAPED || !tape.said.is_empty() {
            ran.tapes.push(tape);
        }
    }
    for message in 0..messages {
        let last = board.got[message].1.load(Ordering::Acquire);
        let meant = board.meant[message].load(Ordering::Acquire);
        ran.last.saturating_record(last.saturating_sub(meant));
    }
    drop(room.slow);
    Ok(ran)
}

struct Writer {
    letter: Letter,
    writers: Vec<RawSender>,
    said: Vec<(u64, super::tape::Said)>,
    recorder: Recorder,
    board: Arc<Board>,
}

impl Writer {
    async fn write(&mut self, plan: &Plan, capacity: usize) -> anyhow::Result<()> {
        let until = Instant::now() + plan.length;
        if let Some(rate) = plan.rate {
            let mut due = pace::every(rate, plan.length, 1).swap_remove(0);
            while let Some(due) = due.recv().await {
                let late = due.elapsed().as_micros() as u64;
                self.send(self.board.now().saturating_sub(late)).await?;
            }
        } else {
            while Instant::now() < until && self.said.len() < capacity {
                self.send(self.board.now()).await?;
                self.board
                    .await_all(self.said.len() - 1, self.said.len())
                    .await?;
            }
        }
        self.board.await_all(0, self.said.len()).await
    }

    /// Everybody in turn, so that nobody says too much.
    async fn send(&mut self, meant: u64) -> anyhow::Result<()> {
        let number = self.said.len();
        ensure!(number < self.board.got.len(), "the room has said its share");
        self.board.meant[number].store(meant, Ordering::Release);
        let writer = &self.writers[number % self.writers.len()];
        let said = self.letter.said(number as u32);
        self.said.push((self.recorder.now(), said));
        writer.write(self.letter.number(number as u32)).await?;
        Ok(())
    }

    fn said_by(&self, place: usize) -> Vec<(u64, super::tape::Said)> {
        let mine = self.said.iter().skip(place);
        mine.step_by(self.writers.len()).copied().collect()
    }
}

impl Seat {
    /// Until it is told to stop. What was heard, and the latency of each message.
    async fn listen(
        mut self,
        board: &Board,
        recorder: &Recorder,
        taped: bool,
        mut stopped: tokio::sync::watch::Receiver<bool>,
    ) -> anyhow::Result<(Tape, Vec<u32>)> {
        let mut latencies: Vec<u32> = Vec::new();
        loop {
            tokio::select! {
                read = self.socket.fill() => read.context("a member's socket")?,
                _ = stopped.wait_for(|stopped| *stopped) => return Ok((self.tape, latencies)),
            }
            while let Some(frame) = self.socket.take()? {
                match glance(&frame)? {
                    Glance::Other => {}
                    // Kept always: whoever wrote must have heard it.
                    Glance::Accepted(_) => self.tape.heard.push((recorder.now(), frame)),
                    Glance::Stored(number, seq) => {
                        let place = latencies.len();
                        ensure!(seq == place as i64 + 1, "{seq} came after {place}");
                        let now = board.now();
                        let meant = board
                            .meant
                            .get(number as usize)
                            .context("a strange id")?
                            .load(Ordering::Acquire);
                        latencies.push(now.saturating_sub(meant) as u32);
                        let (count, last) = &board.got[number as usize];
                        last.fetch_max(now, Ordering::AcqRel);
                        if count.fetch_add(1, Ordering::AcqRel) + 1 == board.members {
                            board.changed.notify_waiters();
                        }
                        if taped {
                            self.tape.heard.push((recorder.now(), frame));
                        }
                    }
                }
            }
        }
    }
}
