//! The fourth step: makes the cluster hold what was built. Uses the client.
//!
//! Every object is applied by the server, under one field manager, and only when
//! the watches do not already say that it holds just this.

mod plan;
mod send;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use kube::Client;

use crate::children::{Child, Children, Key};
use crate::controller::Chat;
use crate::kinds::{self, Kind};
use crate::resources::Resources;
use plan::{Desired, Step};
pub use send::{Error, TakenBack, call};

/// Writes on their way at the same time, for one ChatCluster.
const AT_ONCE: usize = 8;

/// What the step came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects of other people that have a name which we need.
    pub conflicts: Vec<String>,
    /// Objects that must go before ours can come.
    pub waits: Vec<String>,
    /// What somebody had set, and is as it should be again.
    pub taken_back: Vec<TakenBack>,
    /// The objects that belong to the ChatCluster now, by kind and name.
    pub wanted: BTreeSet<Key>,
}

/// Applies all objects, one kind after the other, and removes those that a
/// former pass made and this one does not want. `known` is what the pass began
/// with: of an object that went since, nothing is made anew from what was read of it.
pub async fn apply(
    client: &Client,
    children: &Children,
    chat: &Chat,
    known: &BTreeMap<Key, Child>,
    resources: Resources,
) -> Result<Applied, Error> {
    let (groups, held) = plan::in_order(resources)?;
    let mut applied = Applied::default();
    for group in groups {
        let calls: Vec<_> = group
            .iter()
            .map(|desired| one(client, children, chat, known, desired))
            .collect();
        let outcomes: Vec<_> = futures::stream::iter(calls)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for outcome in outcomes {
            match outcome? {
                Outcome::Holds(taken_back) => applied.taken_back.extend(taken_back),
                Outcome::Conflict(object) => applied.conflicts.push(object),
                Outcome::Waits(object) => applied.waits.push(object),
            }
        }
        applied
            .wanted
            .extend(group.into_iter().map(|it| (it.kind.name, it.name)));
    }
    applied.conflicts.sort();
    remove_orphans(client, chat, known, &applied.wanted, &held).await?;
    Ok(applied)
}

/// What became of one object.
enum Outcome {
    Holds(Option<TakenBack>),
    Conflict(String),
    Waits(String),
}

async fn one(
    client: &Client,
    children: &Children,
    chat: &Chat,
    known: &BTreeMap<Key, Child>,
    desired: &Desired,
) -> Result<Outcome, Error> {
    let child = known.get(&(desired.kind.name, desired.name.clone()));
    let object = || format!("{} {}", desired.kind.name, desired.name);
    let sent = match plan::step(desired, child, &chat.uid) {
        Step::Keep => return Ok(Outcome::Holds(None)),
        Step::Wait => return Ok(Outcome::Waits(object())),
        Step::Refuse => return Ok(Outcome::Conflict(object())),
        Step::Create => send::create(client, chat, desired).await?,
        Step::Change(uid) => match send::change(client, chat, desired, &uid).await {
            Err(error) if desired.kind.name == "StatefulSet" && error.is_invalid() => {
                volumes::grow(client, chat, desired, error).await?;
                return Ok(Outcome::Waits(object()));
            }
            sent => sent?,
        },
    };
    Ok(match sent {
        send::Sent::Holds(live, taken_back) => {
            children.verify(desired.kind, &live, desired.digest);
            Outcome::Holds(taken_back)
        }
        send::Sent::Foreign => Outcome::Conflict(object()),
        send::Sent::Former => Outcome::Waits(object()),
    })
}

async fn remove_orphans(
    client: &Client,
    chat: &Chat,
    known: &BTreeMap<Key, Child>,
    wanted: &BTreeSet<Key>,
    held: &[String],
) -> Result<(), Error> {
    let orphans: Vec<(&Kind, &str, &str)> = plan::orphans(known, wanted, held, &chat.uid)
        .filter_map(|((kind, name), child)| {
            Some((kinds::by_name(kind)?, name.as_str(), child.uid.as_str()))
        })
        .collect();
    for (kind, name, uid) in orphans {
        tracing::info!(chat = %chat.key, kind = kind.name, name, "removed: it is not wanted any more");
        send::delete(client, chat, kind, name, uid).await?;
    }
    Ok(())
}
