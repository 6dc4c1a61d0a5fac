//! Rooms in lock step: a peer's and ours.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chat_e2e::load::room::{self, gather};
use chat_e2e::load::socket::{RawSender, RawSocket};
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::usage::Parts;
use chat_e2e::load::{Cast, judge, latencies};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::websocket::Kind;
use super::xmpp::{self, Xmpp};
use super::{Args, Peer, Round, TEXT, Which, body, ejabberd, marks, paired};
use crate::floor;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 32;

/// Somebody else's room: all who hear in it, and one who says something.
struct Room {
    ears: Vec<Ear>,
    mouth: Mouth,
    message: Vec<u8>,
    parts: Parts,
}

enum Ear {
    Socket(RawSocket),
    Ejabberd(xmpp::Ear),
}

enum Mouth {
    Socket(RawSender),
    Ejabberd(OwnedWriteHalf),
}

impl Ear {
    /// How many messages came with the next bytes.
    async fn hear(&mut self) -> anyhow::Result<usize> {
        match self {
            Self::Socket(socket) => Ok(marks(&socket.next().await?)),
            Self::Ejabberd(ear) => ear.hear().await,
        }
    }
}

impl Mouth {
    async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Socket(socket) => socket.write(bytes).await?,
            Self::Ejabberd(stream) => stream.write_all(bytes).await?,
        }
        Ok(())
    }
}

impl Room {
    /// The writer is one more.
    async fn by_websocket(peer: &Peer, kind: Kind, members: usize) -> anyhow::Result<Self> {
        let ears = kind.members(peer, members).await?;
        Ok(Self {
            ears: ears.into_iter().map(Ear::Socket).collect(),
            mouth: Mouth::Socket(kind.writer(peer).await?.sender()),
            message: kind.message(&body()),
            parts: peer.parts.clone(),
        })
    }

    /// The writer is one of the members.
    async fn of_ejabberd(
        peer: &Peer,
        stage: &Stage,
        name: &str,
        members: usize,
    ) -> anyhow::Result<Self> {
        let users: Vec<String> = (0..members).map(ejabberd::user).collect();
        let (mut ears, mut mouth) = (Vec::new(), None);
        for some in users.chunks(AT_ONCE) {
            let join = async |user: &String| {
                let mut member = Xmpp::sign_in(peer.port, user).await?;
                member.join(name).await?;
                anyhow::Ok(member)
            };
            for member in try_join_all(some.iter().map(join)).await? {
                let (ear, its_mouth) = member.split();
                ears.push(Ear::Ejabberd(ear));
                match mouth {
                    None => mouth = Some(its_mouth),
                    // Says nothing, and stays.
                    Some(_) => its_mouth.forget(),
                }
            }
        }
        Ok(Self {
            ears,
            mouth: Mouth::Ejabberd(mouth.context("an empty room")?),
            message: Xmpp::message_to_room(name),
            parts: ejabberd::parts(peer, &stage.stores).await?,
        })
    }
}

pub async fn run(args: &Args, which: Which) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let peer = match which {
        Which::Ejabberd => ejabberd::start(&stage.stores, args.members).await?,
        Which::Websocket(kind) => kind.start().await?,
    };
    let (mut notices, mut tapes, mut runs, mut rounds) = (0, Vec::new(), Vec::new(), Vec::new());
    let what = format!("room of {}", args.members);
    for round in 1..=args.rounds {
        eprintln!("{} {round} of {}", peer.name, args.rounds);
        let variant = format!("{what}, round {round} with {}", peer.name);
        let floor = floor::fan_out().await?;
        let room = match which {
            Which::Ejabberd => {
                let name = format!("room{round}");
                Room::of_ejabberd(&peer, &stage, &name, args.members).await?
            }
            Which::Websocket(kind) => Room::by_websocket(&peer, kind, args.members).await?,
        };
        let mut theirs = lock_step(&peer, room, &variant, args).await?;
        let between = floor::fan_out().await?;
        let plan = room::Plan {
            rate: None,
            length: args.length(),
            text: TEXT,
            slow: false,
        };
        let gathered = gather(&cast, &stage.recorder, args.members, 1, false).await?;
        let before = stage.parts.read()?;
        let ran = room::run(&stage.recorder, gathered, &plan).await?;
        notices += ran.messages as i64 * (args.members - 1) as i64;
        await_notices(&stage.chat, notices).await?;
        let spent = before.until(&stage.parts.read()?);
        let mut ours = Run::new("peers", &variant, "delivery")?;
        ours.spent(&spent, ran.deliveries as f64, ran.seconds);
        ours.latency
            .insert("last member".into(), Latency::of(&ran.last));
        let after = floor::fan_out().await?;
        theirs.beside(&[floor], std::slice::from_ref(&between));
        ours.beside(&[between], &[after]);
        for run in [&mut theirs, &mut ours] {
            run.floor_us = Some(run.floor("ws-fanout"));
        }
        rounds.push(Round {
            ours: ours.cpu_us,
            theirs: theirs.cpu_us,
        });
        tapes.extend(ran.tapes);
        runs.extend([theirs, ours]);
    }
    let pairs = paired(&what, peer.name, &rounds)?;
    peer.daemon.stop().await?;
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        if run.system == "chat" {
            run.facts.clone_from(&facts);
        }
        run.save()?;
    }
    pairs.save()
}

async fn lock_step(peer: &Peer, room: Room, variant: &str, args: &Args) -> anyhow::Result<Run> {
    let mut run = Run::new("peers", variant, "delivery")?;
    run.system = peer.name.to_owned();
    run.notes.push(peer.differs.to_owned());
    let Room {
        ears,
        mut mouth,
        message,
        parts,
    } = room;
    let members = ears.len();
    let mut listeners = JoinSet::new();
    let (heard, mut hear) = mpsc::unbounded_channel::<()>();
    for mut ear in ears {
        let heard = heard.clone();
        listeners.spawn(async move {
            loop {
                for _ in 0..ear.hear().await? {
                    heard.send(())?;
                }
            }
            #[expect(unreachable_code, reason = "the type of the task")]
            anyhow::Ok(())
        });
    }
    let (mut last, mut deliveries): (Histogram<u64>, u64) = (latencies(), 0);
    let before = parts.read()?;
    let (began, until) = (Instant::now(), Instant::now() + args.length());
    while Instant::now() < until {
        let meant = Instant::now();
        mouth.say(&message).await?;
        for _ in 0..members {
            tokio::select! {
                heard = hear.recv() => heard.context("nobody listens")?,
                ended = listeners.join_next() => bail!("a listener ended: {ended:?}"),
                () = tokio::time::sleep(PATIENCE) => bail!("{} lost a delivery", peer.name),
            }
        }
        last.saturating_record(meant.elapsed().as_micros() as u64);
        deliveries += members as u64;
    }
    let seconds = began.elapsed().as_secs_f64();
    let spent = before.until(&parts.read()?);
    run.spent(&spent, deliveries as f64, seconds);
    run.latency.insert("last member".into(), Latency::of(&last));
    Ok(run)
}
