//! One of three pods of socket-handler is killed while messages flow, and all of its
//! sockets come back at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chat_e2e::history::Recorder;
use chat_e2e::load::pace::{self, Due};
use chat_e2e::load::socket::{RawSocket, frame};
use chat_e2e::load::tape::{Glance, Letter, Tape, await_notices, glance};
use chat_e2e::load::usage::Parts;
use chat_e2e::load::{Cast, Member, judge, latencies};
use chat_events::{ClientFrame, ClientId, Code, ConversationId, ServerFrame, Service, UserId};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::record::{Latency, Run};
use crate::stage::Stage;

const PODS: usize = 3;
/// Messages of one writer; a socket may say 120 frames a minute.
const SHARE: f64 = 100.0;
const BEFORE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);
const AT_ONCE: usize = 64;
const TEXT: usize = 256;

#[derive(clap::Args)]
pub struct Args {
    /// On the pod that is killed.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Messages in a second, to all of them in turn.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Seconds of load, the three before the kill included.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let length = Duration::from_secs_f64(args.seconds);
    ensure!(length > 2 * BEFORE && args.sockets > 0, "too short");
    let stage = Stage::start(PODS).await?;
    let cast = Cast::new(&stage.chat).await?;
    let count = (args.rate * args.seconds / SHARE).ceil() as usize;
    let (writers, readers) = (cast.people(count).await?, cast.people(args.sockets).await?);
    let groups: Vec<Vec<UserId>> = readers
        .iter()
        .zip(writers.iter().cycle())
        .map(|(reader, writer)| vec![reader.id, writer.id])
        .collect();
    let conversations = cast.conversations(&groups).await?;
    for (conversation, group) in conversations.iter().zip(&groups) {
        stage.recorder.conversation(*conversation, group);
    }
    eprintln!("opening {} sockets", args.sockets);
    let crowd = Crowd::gather(&stage, &cast, &readers, &conversations).await?;
    let steady = handlers(&stage.parts)?;
    let parts = survivors(&stage).await?;
    let dues = pace::every(args.rate, length, count);
    let mut writing = JoinSet::new();
    for (number, (member, due)) in writers.iter().zip(dues).enumerate() {
        let since = stage.recorder.now();
        let socket = cast.socket(member, 1 + number % (PODS - 1)).await?;
        let mine = conversations.iter().skip(number).step_by(count);
        writing.spawn(write(Writer {
            socket,
            letters: mine.map(|id| (Letter::new(*id, TEXT), 0)).collect(),
            due,
            recorder: stage.recorder.clone(),
            tape: tape(member.id, since),
        }));
    }
    sleep(BEFORE).await;
    let counted = stage.counters().await?;
    let before = parts.read()?;
    eprintln!("killing a pod");
    let killed = Instant::now();
    stage.chat.pod(Service::SocketHandler, 0).kill().await?;
    let mut peak = steady;
    let back = async {
        while crowd.back.load(Ordering::Acquire) < args.sockets {
            peak = peak.max(handlers(&parts)?);
            ensure!(killed.elapsed() < PATIENCE, "not all are current again");
            sleep(AGAIN).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        all = back => all?,
        ended = crowd.reading.next_end() => bail!("a reader ended: {ended:?}"),
    }
    let all = killed.elapsed();
    let spent = before.until(&parts.read()?);
    let counters = stage.counters().await?.since(&counted, args.sockets as f64);
    let resumes = crowd.resumes.load(Ordering::Relaxed) as f64;
    let mut tapes = Vec::new();
    let (mut messages, mut repeats, mut lasts) = (0, 0, Vec::new());
    while let Some(written) = writing.join_next().await {
        let written = written??;
        messages += written.tape.said.len() as i64;
        repeats += written.repeats;
        lasts.extend(written.lasts);
        tapes.push(written.tape);
    }
    let (times, more) = crowd.leave(&lasts).await?;
    tapes.extend(more);
    await_notices(&stage.chat, messages).await?;
    let mut run = Run::new("storm", &format!("{} sockets", args.sockets), "reconnect")?;
    run.spent(&spent, args.sockets as f64, all.as_secs_f64());
    run.counters = counters;
    run.latency
        .insert("current again".into(), Latency::of(&times));
    for (name, figure) in [
        ("s until all were current", all.as_secs_f64()),
        ("resumes", resumes),
        ("most memory / before", peak as f64 / steady as f64),
        ("messages meanwhile", messages as f64),
        ("messages said again", f64::from(repeats)),
    ] {
        run.figures.insert(name.into(), figure);
    }
    run.facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    run.notes
        .push("counted and spent while messages flowed, whose share is in the figures".into());
    run.save()
}

/// Everything but the pod that is killed.
async fn survivors(stage: &Stage) -> anyhow::Result<Parts> {
    let mut parts = Parts::of_stores(&stage.stores).await?;
    for pod in stage.chat.pods() {
        let place = pod.place();
        if place.service != Service::SocketHandler || place.replica > 0 {
            parts.add(place.service.name(), pod.pid().await.context("no pod")?);
        }
    }
    Ok(parts)
}

/// Memory of the pods of socket-handler, in bytes.
fn handlers(parts: &Parts) -> anyhow::Result<u64> {
    let memory = parts.memory()?;
    Ok(memory
        .get(Service::SocketHandler.name())
        .copied()
        .unwrap_or_default())
}

fn tape(user: UserId, since: u64) -> Tape {
    Tape {
        user,
        since,
        said: Vec::new(),
        heard: Vec::new(),
    }
}

struct Writer {
    socket: RawSocket,
    letters: Vec<(Letter, u32)>,
    due: Due,
    recorder: Recorder,
    tape: Tape,
}

/// What a writer has said in the end.
struct Written {
    tape: Tape,
    /// Messages that were not accepted at once.
    repeats: u32,
    /// How long the log of each conversation is.
    lasts: Vec<(ConversationId, i64)>,
}

/// Until nothing is due any more and everything is stored.
async fn write(mut writer: Writer) -> anyhow::Result<Written> {
    let sender = writer.socket.sender();
    let (mut stored, mut accepted, mut turn, mut over) = (0, 0, 0, false);
    let mut repeats = 0;
    loop {
        let said = writer.tape.said.len();
        if over && stored == said && accepted == said {
            break;
        }
        tokio::select! {
            due = writer.due.recv(), if !over => match due {
                None => over = true,
                Some(_) => {
                    let place = turn % writer.letters.len();
                    let (letter, number) = &mut writer.letters[place];
                    let said = (writer.recorder.now(), letter.said(*number));
                    writer.tape.said.push(said);
                    sender.write(letter.number(*number)).await?;
                    *number += 1;
                    turn += 1;
                }
            },
            read = timeout(PATIENCE, writer.socket.fill()) => {
                read.context("a writer waits")?.context("a writer's socket")?;
                while let Some(frame) = writer.socket.take()? {
                    if let Some(id) = unavailable(&frame) {
                        // As every client does, and the time counts.
                        repeats += 1;
                        sleep(AGAIN).await;
                        sender.write(writer.letter(id).context("of nobody")?).await?;
                        continue;
                    }
                    match glance(&frame)? {
                        Glance::Other => continue,
                        Glance::Accepted(_) => accepted += 1,
                        Glance::Stored(..) => stored += 1,
                    }
                    writer.tape.heard.push((writer.recorder.now(), frame));
                }
            }
        }
    }
    let lasts = writer
        .letters
        .iter()
        .map(|(letter, number)| (letter.said(0).conversation, i64::from(*number)));
    Ok(Written {
        lasts: lasts.collect(),
        tape: writer.tape,
        repeats,
    })
}

/// The message that the server could not take just now.
fn unavailable(frame: &[u8]) -> Option<ClientId> {
    if !frame.starts_with(br#"{"type":"error""#) {
        return None;
    }
    match serde_json::from_slice(frame) {
        Ok(ServerFrame::Error {
            code: Code::Unavailable,
            client_id,
            ..
        }) => client_id,
        _ => None,
    }
}

impl Writer {
    /// The frame that was said with this id.
    fn letter(&mut self, id: ClientId) -> Option<&[u8]> {
        let number = u32::from_be_bytes(*id.0.as_bytes().last_chunk()?);
        let mut letters = self.letters.iter_mut();
        let letter = letters.find(|(letter, _)| letter.said(number).client_id == id);
        letter.map(|(letter, _)| letter.number(number))
    }
}

/// Those whose pod is killed.
struct Crowd {
    reading: Readers,
    back: Arc<AtomicUsize>,
    resumes: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
}

type Read = (ConversationId, i64, Option<u64>, Tape);

struct Readers(tokio::sync::Mutex<JoinSet<anyhow::Result<Read>>>);

impl Readers {
    /// Nobody ends before they are told to.
    async fn next_end(&self) -> Option<Result<anyhow::Result<Read>, tokio::task::JoinError>> {
        self.0.lock().await.join_next().await
    }
}

impl Crowd {
    async fn gather(
        stage: &Stage,
        cast: &Cast<'_>,
        readers: &[Member],
        conversations: &[ConversationId],
    ) -> anyhow::Result<Self> {
        let (back, resumes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        let (stop, stopped) = watch::channel(false);
        let mut reading = JoinSet::new();
        let all: Vec<_> = readers.iter().zip(conversations).enumerate().collect();
        for some in all.chunks(AT_ONCE) {
            let open = some.iter().map(|(_, (member, _))| cast.socket(member, 0));
            for ((number, (member, conversation)), mut socket) in
                some.iter().zip(try_join_all(open).await?)
            {
                let since = stage.recorder.now();
                // Its hello.
                socket.next().await?;
                let reader = Reader {
                    conversation: **conversation,
                    door: cast.door(1 + number % (PODS - 1)),
                    token: cast.token(member),
                    top: 0,
                    recorder: stage.recorder.clone(),
                    tape: tape(member.id, since),
                    resumes: resumes.clone(),
                };
                let (back, stopped) = (back.clone(), stopped.clone());
                reading.spawn(reader.read(socket, back, stopped));
            }
        }
        Ok(Self {
            reading: Readers(tokio::sync::Mutex::new(reading)),
            back,
            resumes,
            stop,
        })
    }

    /// How long each was away, once all have what was written.
    async fn leave(
        self,
        lasts: &[(ConversationId, i64)],
    ) -> anyhow::Result<(Histogram<u64>, Vec<Tape>)> {
        // The last pushes are on their way.
        sleep(Duration::from_secs(2)).await;
        self.stop.send_replace(true);
        let mut reading = self.reading.0.into_inner();
        let lasts: std::collections::HashMap<_, _> = lasts.iter().copied().collect();
        let (mut times, mut tapes) = (latencies(), Vec::new());
        while let Some(read) = reading.join_next().await {
            let (conversation, top, away, tape) = read??;
            let last = lasts.get(&conversation).copied().unwrap_or_default();
            ensure!(
                top == last,
                "{conversation} ends at {last}, its reader at {top}"
            );
            times.saturating_record(away.context("it was never cut off")?);
            tapes.push(tape);
        }
        Ok((times, tapes))
    }
}

struct Reader {
    conversation: ConversationId,
    door: chat_e2e::load::Door,
    token: String,
    top: i64,
    recorder: Recorder,
    tape: Tape,
    resumes: Arc<AtomicU64>,
}

impl Reader {
    async fn read(
        mut self,
        mut socket: RawSocket,
        back: Arc<AtomicUsize>,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Read> {
        let mut away = None;
        loop {
            let heard = tokio::select! {
                heard = socket.next() => heard,
                _ = stopped.wait_for(|stopped| *stopped) => {
                    return Ok((self.conversation, self.top, away, self.tape));
                }
            };
            match heard {
                Ok(frame) => self.hear(frame)?,
                Err(error) if away.is_some() => return Err(error),
                Err(_) => {
                    let began = Instant::now();
                    socket = self.come_back().await?;
                    away = Some(began.elapsed().as_micros() as u64);
                    back.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    }

    fn hear(&mut self, frame: Bytes) -> anyhow::Result<()> {
        if let Glance::Stored(_, seq) = glance(&frame)? {
            // What a resume has brought already.
            if seq <= self.top {
                return Ok(());
            }
            ensure!(seq == self.top + 1, "{seq} came after {}", self.top);
            self.top = seq;
            self.tape.heard.push((self.recorder.now(), frame));
        }
        Ok(())
    }

    /// Connects until somebody opens, and asks for what is missing.
    async fn come_back(&mut self) -> anyhow::Result<RawSocket> {
        let deadline = Instant::now() + PATIENCE;
        let mut socket = loop {
            match self.door.open(&self.token).await {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(AGAIN).await,
            }
        };
        let hello = serde_json::from_slice(&socket.next().await?)?;
        let ServerFrame::Hello { positions, .. } = hello else {
            bail!("no hello");
        };
        let here = positions
            .iter()
            .find(|position| position.conversation_id == self.conversation);
        if here.is_none_or(|position| position.seq <= self.top) {
            return Ok(socket);
        }
        self.resumes.fetch_add(1, Ordering::Relaxed);
        let resume = serde_json::to_vec(&ClientFrame::Resume {
            conversation_id: self.conversation,
            after: self.top,
        })?;
        socket.sender().write(&frame(&resume)).await?;
        let mut waiting = Vec::new();
        loop {
            let heard = socket.next().await?;
            match serde_json::from_slice(&heard)? {
                ServerFrame::Log(_) => waiting.push(heard),
                ServerFrame::Resumed {
                    events, complete, ..
                } => {
                    for event in &events {
                        ensure!(event.seq() == self.top + 1, "a resume with a hole");
                        self.top = event.seq();
                    }
                    self.tape.heard.push((self.recorder.now(), heard));
                    ensure!(complete, "more was missed than a page holds");
                    break;
                }
                // As every client does, and the time counts.
                ServerFrame::Error {
                    code: Code::Unavailable,
                    ..
                } => {
                    sleep(AGAIN).await;
                    socket.sender().write(&frame(&resume)).await?;
                }
                ServerFrame::Error { .. } => bail!("a resume was refused: {heard:?}"),
                _ => {}
            }
        }
        for frame in waiting {
            self.hear(frame)?;
        }
        Ok(socket)
    }
}
