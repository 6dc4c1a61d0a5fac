//! Sockets that say nothing, of a peer and of ours: what each keeps, and what it takes.

use std::time::Duration;

use anyhow::Context;
use chat_e2e::load::Cast;
use chat_e2e::load::usage::{self, Parts};
use chat_events::Service;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::xmpp::Xmpp;
use super::{Args, Peer, Round, Which, ejabberd, paired};
use crate::record::Run;
use crate::stage::Stage;

const SETTLE: Duration = Duration::from_secs(3);
const AT_ONCE: usize = 32;

/// Sockets that are read, for whatever comes.
type Resting = JoinSet<anyhow::Error>;

pub async fn run(args: &Args, which: Which) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let peer = match which {
        Which::Ejabberd => ejabberd::start(&stage.stores, args.sockets).await?,
        Which::Websocket(kind) => kind.start().await?,
    };
    let people = cast.people(args.sockets).await?;
    let ours_pid = stage.chat.pod(Service::SocketHandler, 0).pid().await;
    let ours_pid = ours_pid.context("socket-handler does not run")?;
    let theirs_pid = peer.daemon.pid().await.context("the peer does not run")?;
    // What was given back is kept for the next round by some.
    let ours_base = usage::resident(ours_pid)?;
    let theirs_base = usage::resident(theirs_pid)?;
    let what = format!("idle, {} sockets", args.sockets);
    let (mut runs, mut rounds) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        eprintln!("{} {round} of {}", peer.name, args.rounds);
        let variant = format!("{what}, round {round} with {}", peer.name);
        let mut theirs = rest(
            &variant,
            &peer.parts,
            (theirs_pid, theirs_base),
            args,
            async || open(&peer, which, args.sockets).await,
        )
        .await?;
        theirs.system = peer.name.to_owned();
        theirs.notes.push("nobody has contacts".to_owned());
        let mut ours = rest(
            &variant,
            &stage.parts,
            (ours_pid, ours_base),
            args,
            async || {
                let mut resting = Resting::new();
                for some in people.chunks(AT_ONCE) {
                    let opened = some.iter().map(|member| cast.socket(member, 0));
                    for mut socket in try_join_all(opened).await? {
                        resting.spawn(async move {
                            loop {
                                match socket.next().await {
                                    Ok(_) => socket.rest(),
                                    Err(error) => return error,
                                }
                            }
                        });
                    }
                }
                Ok(resting)
            },
        )
        .await?;
        ours.notes.push(
            "nobody has conversations; all stores and services are counted, idle as they are"
                .to_owned(),
        );
        rounds.push(Round {
            ours: ours.cpu_us,
            theirs: theirs.cpu_us,
        });
        runs.extend([theirs, ours]);
    }
    let pairs = paired(&what, peer.name, &rounds)?;
    peer.daemon.stop().await?;
    for run in runs {
        run.save()?;
    }
    pairs.save()
}

async fn rest(
    variant: &str,
    parts: &Parts,
    (pid, base): (i32, u64),
    args: &Args,
    open: impl AsyncFnOnce() -> anyhow::Result<Resting>,
) -> anyhow::Result<Run> {
    let mut resting = open().await?;
    sleep(SETTLE).await;
    let before = parts.read()?;
    sleep(args.length()).await;
    let spent = before.until(&parts.read()?);
    let kept = usage::resident(pid)?.saturating_sub(base);
    if let Some(ended) = resting.try_join_next() {
        return Err(ended?.context("a socket was closed while it rested"));
    }
    resting.shutdown().await;
    sleep(SETTLE).await;
    let mut run = Run::new("peers", variant, "socket and second")?;
    run.spent(&spent, args.sockets as f64 * spent.seconds, spent.seconds);
    let each = kept as f64 / args.sockets as f64 / 1e3;
    run.figures.insert("KB of a socket".into(), each);
    Ok(run)
}

async fn open(peer: &Peer, which: Which, count: usize) -> anyhow::Result<Resting> {
    let mut resting = Resting::new();
    match which {
        Which::Websocket(kind) => {
            for mut socket in kind.members(peer, count).await? {
                resting.spawn(async move {
                    loop {
                        match socket.next().await {
                            Ok(_) => socket.rest(),
                            Err(error) => return error,
                        }
                    }
                });
            }
        }
        Which::Ejabberd => {
            let users: Vec<String> = (0..count).map(ejabberd::user).collect();
            for some in users.chunks(AT_ONCE) {
                let opened = some.iter().map(|user| Xmpp::sign_in(peer.port, user));
                for mut user in try_join_all(opened).await? {
                    resting.spawn(async move {
                        loop {
                            if let Err(error) = user.ear.hear().await {
                                return error;
                            }
                        }
                    });
                }
            }
        }
    }
    Ok(resting)
}
