//! The task of a client: connect, catch up, send what waits, and again.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use anyhow::Context;
use chat_events::{ClientFrame, ClientId, ConversationId, LogEvent, ServerFrame, close};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::recording::Recording;
use super::state::{Gap, State};
use crate::socket::{ChatSocket, Incoming, Refused};
use crate::{Log, Person};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What was not answered is said again after this.
const AGAIN: Duration = Duration::from_secs(10);
/// The server closes at the moment that it named, or this much later the client goes.
const CLOSES: Duration = Duration::from_secs(1);
/// An error that is not final.
const AFTER_ERROR: Duration = Duration::from_secs(1);

pub(super) async fn run(person: Person, state: watch::Sender<State>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut changes = state.subscribe();
    let mut recording = Recording::new(state.borrow().process.clone());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            online = changes.wait_for(|state| !state.offline) => drop(online),
        }
        recording.connects();
        match ChatSocket::open(&person).await {
            Ok(socket) => {
                let ended = session(&person, &state, socket, &stop, &mut recording).await;
                let code = ended.as_ref().ok().and_then(|end| end.code);
                let error = match &ended {
                    Ok(end) => end.error.clone(),
                    Err(error) => Some(format!("{error:#}")),
                };
                state.send_modify(|state| {
                    // Else it was refused before it began.
                    if state.connected {
                        state.gaps.push(Gap {
                            code,
                            error,
                            tries: Vec::new(),
                            wanted: state.offline || stop.is_cancelled(),
                            began: Instant::now(),
                            lasted: None,
                        });
                    }
                    state.connected = false;
                    // Nobody would say when it ends.
                    state.typing.clear();
                    state.signed_out = code == Some(close::REVOKED);
                });
                recording.shows(&state.borrow());
                recording.ends();
                if code == Some(close::REVOKED) || stop.is_cancelled() {
                    return;
                }
                if ended.is_ok() {
                    pause = FIRST_PAUSE;
                }
                if code == Some(close::EXPIRED) {
                    // Without an answer the next upgrade is refused, and asks again.
                    let _ = person.refresh().await;
                }
            }
            Err(error) => {
                recording.ends();
                state.send_modify(|state| {
                    if let Some(gap) = state.gaps.last_mut() {
                        gap.tries.push((gap.began.elapsed(), format!("{error:#}")));
                    }
                });
                let status = error
                    .downcast_ref::<Refused>()
                    .map(|refused| refused.status);
                if status == Some(401) {
                    let refreshed = person.refresh().await;
                    if refreshed.is_ok_and(|answer| answer.status == 401) {
                        state.send_modify(|state| state.signed_out = true);
                        return;
                    }
                }
            }
        }
        let jitter = rand::random_range(0.5..1.0);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause.mul_f64(jitter)) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How the server ended a socket.
#[derive(Default)]
struct End {
    code: Option<u16>,
    /// What the transport said when there is no code.
    error: Option<String>,
}

impl End {
    fn of(socket: &ChatSocket, code: Option<u16>) -> Self {
        let error = socket.broken().map(str::to_owned);
        Self { code, error }
    }
}

/// Until the socket ends.
async fn session(
    person: &Person,
    state: &watch::Sender<State>,
    mut socket: ChatSocket,
    stop: &CancellationToken,
    recording: &mut Recording,
) -> anyhow::Result<End> {
    let mut changes = state.subscribe();
    let mut under_way = UnderWay {
        typed: state.borrow().typed.clone(),
        ..UnderWay::default()
    };
    let silence = match socket.next(AGAIN).await? {
        Incoming::Frame(
            hello @ ServerFrame::Hello {
                heartbeat_seconds, ..
            },
        ) => {
            let reborn = recording.hears(&hello);
            state.send_modify(|state| {
                state.connected = true;
                state.connections += 1;
                if let Some(gap) = state.gaps.last_mut() {
                    gap.lasted = Some(gap.began.elapsed());
                }
                state.process = reborn.or(state.process.take());
                state.apply(hello);
            });
            Duration::from_secs(heartbeat_seconds * 2)
        }
        Incoming::Frame(other) => anyhow::bail!("the first frame was {other:?}"),
        Incoming::Closed(code) => return Ok(End::of(&socket, code)),
    };
    let mut heard = Instant::now();
    let mut leaves = None;
    loop {
        state.send_if_modified(|state| state.end_typing(Instant::now()));
        recording.shows(&state.borrow());
        let (frames, offline) = {
            let state = changes.borrow_and_update();
            (under_way.due(&state, Instant::now()), state.offline)
        };
        if offline {
            socket.close().await?;
            return Ok(End::default());
        }
        for frame in &frames {
            recording.says(frame);
            let sent = socket.send(frame).await;
            if socket.code().is_some() {
                return Ok(End::of(&socket, socket.code()));
            }
            sent?;
        }
        tokio::select! {
            () = stop.cancelled() => {
                socket.close().await?;
                return Ok(End::default());
            }
            () = at(leaves) => {
                socket.close().await.context("told to leave")?;
                let code = Some(close::GOING_AWAY);
                return Ok(End { code, error: None });
            }
            changed = changes.changed() => changed?,
            () = sleep(AFTER_ERROR) => anyhow::ensure!(heard.elapsed() < silence, "the server is silent"),
            incoming = socket.next(silence) => match incoming? {
                Incoming::Closed(code) => return Ok(End::of(&socket, code)),
                Incoming::Frame(ServerFrame::GoingAway { delay_ms }) => {
                    heard = Instant::now();
                    leaves = Some(heard + Duration::from_millis(delay_ms) + CLOSES);
                }
                Incoming::Frame(frame) => {
                    heard = Instant::now();
                    under_way.heard(&frame);
                    let reborn = recording.hears(&frame);
                    let mut resync = None;
                    state.send_modify(|state| {
                        state.process = reborn.or(state.process.take());
                        resync = state.apply(frame);
                    });
                    if let Some(conversation) = resync {
                        fetch(person, state, conversation).await?;
                    }
                }
            },
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// What was said on this connection and is not answered.
#[derive(Default)]
struct UnderWay {
    /// One message per conversation at a time keeps their order. Said again at the instant.
    sends: HashMap<ConversationId, (ClientId, Instant)>,
    resumes: HashMap<ConversationId, Instant>,
    reads: HashMap<ConversationId, (i64, Instant)>,
    typed: HashMap<ConversationId, u32>,
}

impl UnderWay {
    /// The frames that should leave now.
    fn due(&mut self, state: &State, now: Instant) -> Vec<ClientFrame> {
        let mut frames = Vec::new();
        for (&conversation_id, log) in &state.logs {
            let Some(after) = log.hole() else { continue };
            if self
                .resumes
                .get(&conversation_id)
                .is_none_or(|again| *again <= now)
            {
                self.resumes.insert(conversation_id, now + AGAIN);
                frames.push(ClientFrame::Resume {
                    conversation_id,
                    after,
                });
            }
        }
        self.sends.retain(|_, (client_id, _)| {
            !state.accepted.contains(client_id)
                && state
                    .outbox
                    .iter()
                    .any(|waiting| waiting.client_id == *client_id)
        });
        for waiting in &state.outbox {
            // Accepted ones are on their way; a hole in the log will show a lost push.
            if state.accepted.contains(&waiting.client_id) {
                continue;
            }
            let turn = match self.sends.get(&waiting.conversation_id) {
                None => true,
                Some((client_id, again)) => *client_id == waiting.client_id && *again <= now,
            };
            if turn {
                self.sends
                    .insert(waiting.conversation_id, (waiting.client_id, now + AGAIN));
                frames.push(ClientFrame::MessageCreate {
                    client_id: waiting.client_id,
                    conversation_id: waiting.conversation_id,
                    content: waiting.content.clone(),
                });
            }
        }
        for (&conversation_id, &up_to) in &state.reads {
            let mark = state.user_id.zip(state.logs.get(&conversation_id));
            let stored = mark.map_or(0, |(user, log)| Log::read_up_to(log, user));
            let said = self.reads.get(&conversation_id);
            let due = said.is_none_or(|(said, again)| *said < up_to || *again <= now);
            if stored < up_to && due {
                self.reads.insert(conversation_id, (up_to, now + AGAIN));
                frames.push(ClientFrame::MessageRead {
                    conversation_id,
                    up_to,
                });
            }
        }
        for (&conversation_id, &times) in &state.typed {
            if self.typed.insert(conversation_id, times) != Some(times) {
                frames.push(ClientFrame::Typing {
                    conversation_id,
                    active: true,
                });
            }
        }
        frames
    }

    fn heard(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Resumed {
                conversation_id, ..
            } => {
                self.resumes.remove(conversation_id);
            }
            ServerFrame::Error {
                client_id: Some(client_id),
                ..
            } => {
                for (sent, again) in self.sends.values_mut() {
                    if sent == client_id {
                        *again = Instant::now() + AFTER_ERROR;
                    }
                }
            }
            _ => {}
        }
    }
}

/// Reads the rest of the log over HTTP, page by page.
async fn fetch(
    person: &Person,
    state: &watch::Sender<State>,
    conversation: ConversationId,
) -> anyhow::Result<()> {
    loop {
        let after = state.borrow().top(conversation);
        let page = person
            .get(&format!(
                "/api/messages/events?conversation={conversation}&after={after}"
            ))
            .await?
            .expect(200)?;
        let events: Vec<LogEvent> =
            serde_json::from_value(page["events"].clone()).context("not a page of events")?;
        state.send_modify(|state| events.into_iter().for_each(|event| state.log(event)));
        if page["complete"] != false {
            return Ok(());
        }
    }
}
