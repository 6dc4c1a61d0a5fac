//! The driver: which ChatClusters there are, when each is looked at, and the five
//! steps of one look.

mod stop;
pub mod watches;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::apply::{self, Applied, apply};
use crate::build::build;
use crate::chat::{Chat, ChatRef};
use crate::children::state::is_rolled_out;
use crate::context::queue::Outcome;
use crate::context::{Context, Known};
use crate::crd::ChatCluster;
use crate::dereference::dereference;
use crate::metrics;
use crate::resources::Resources;
use crate::status::{self, Observation, Pass, observe};
use crate::validate::{Invalid, Validated, validate};

/// Longer than any pass takes that still gets on.
const PASS: Duration = Duration::from_secs(50);

/// How often to look whether an object that must go has gone.
const WAIT: Duration = Duration::from_secs(2);

/// Pods come one by one, and each status is a write: progress is told so long after
/// what was told before.
const PROGRESS: Duration = Duration::from_secs(1);

/// Works on the queue with so many passes at a time until it is closed, and ends
/// when the last of them has.
pub async fn work(context: Arc<Context>, workers: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let context = context.clone();
        tasks.spawn(async move {
            while let Some(key) = context.queue.next().await {
                let outcome = guarded_pass(&context, &key).await;
                context.queue.done(&key, outcome);
                metrics::depth(context.queue.depth(), context.queue.failing());
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a worker ended: {error}");
        }
    }
}

/// A pass that neither hangs nor takes its worker down.
async fn guarded_pass(context: &Arc<Context>, key: &ChatRef) -> Outcome {
    let begin = Instant::now();
    let task = {
        let (context, key) = (context.clone(), key.clone());
        tokio::spawn(async move { tokio::time::timeout(PASS, pass(&context, &key)).await })
    };
    let (outcome, result) = match task.await {
        Ok(Ok(Ok(outcome))) => (outcome, "done"),
        Ok(Ok(Err(error))) => {
            tracing::warn!(chat = %key, "{error}");
            (Outcome::Failed, "failed")
        }
        Ok(Err(_)) => {
            tracing::warn!(chat = %key, "the pass took too long");
            (Outcome::Failed, "failed")
        }
        Err(panic) => {
            tracing::error!(chat = %key, "the pass panicked: {panic}");
            (Outcome::Failed, "failed")
        }
    };
    metrics::pass(result, begin.elapsed());
    outcome
}

/// The five steps. What is wrong with the ChatCluster stands in its status; an
/// error is what keeps the operator from its work, and is tried again.
#[tracing::instrument(skip_all, fields(chat = %key))]
async fn pass(context: &Context, key: &ChatRef) -> Result<Outcome, apply::Error> {
    let chat = match context.known(key) {
        Some(Known::Chat(chat)) => chat,
        Some(Known::Undecodable(object)) => {
            context.announcer.announce_undecodable(&object).await;
            return Ok(Outcome::Done);
        }
        None => return Ok(Outcome::Done),
    };
    if chat.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::Done);
    }

    let before = context.children.of(key);
    let facts = match dereference(context, key, &chat, &before).await {
        Ok(facts) => facts,
        Err(error) => {
            if let Some(seen) = status::unreadable(&chat, &error) {
                report(context, key, &chat, &seen).await?;
            }
            return Err(error);
        }
    };
    let validated = validate(&chat, &facts, &context.defaults);
    let built = validated.map(|validated| {
        let mut resources = build(&validated);
        if validated.stopped {
            stop::in_order(&mut resources, &before);
        }
        (validated, resources)
    });
    let mut taken_back = Vec::new();
    let applied = match &built {
        Ok((_, resources)) if !chat.spec.paused => {
            let chat = Chat {
                key: key.clone(),
                uid: chat.metadata.uid.clone().unwrap_or_default(),
            };
            let (client, children) = (&context.client, &context.children);
            let (resources, taken_back) = (resources.clone(), &mut taken_back);
            Some(apply(client, children, &chat, &before, resources, taken_back).await)
        }
        _ => None,
    };
    for secret in applied.iter().flatten().flat_map(|it| &it.secrets) {
        context.secrets.wrote(secret);
    }
    for taken_back in taken_back {
        let (chat, announcer) = (chat.object_ref(&()), &context.announcer);
        announcer.announce_taken_back(&chat, taken_back).await;
    }
    let mut again = follow_keys(context, key, &built, applied.as_ref());
    again |= matches!(&applied, Some(Ok(applied)) if applied.look_again);
    if let (Ok((validated, resources)), Some(Ok(applied))) = (&built, &applied) {
        let children = context.children.of(key);
        let proofs = &context.proofs;
        again |= proofs.look(key, validated, resources, applied, &children);
    }
    let seen = observe(&Pass {
        chat: &chat,
        facts: &facts,
        validated: built.as_ref().map(|(validated, _)| validated),
        applied: applied.as_ref(),
        children: &context.children.of(key),
    });
    let untold = report(context, key, &chat, &seen).await?;
    let applied = applied.transpose()?.unwrap_or_default();
    if !applied.conflicts.is_empty() {
        // Nobody tells when somebody else's object goes.
        return Ok(Outcome::Failed);
    }

    let (now, all) = (Timestamp::now(), &facts.credentials);
    // Without a pod, nothing is seen, and so nothing waited for.
    let passwords = all.passwords.wake(now).filter(|_| !chat.spec.stopped);
    // Their end may have been missed.
    let waits = (!applied.waits.is_empty()).then_some(WAIT);
    let wakes = [all.rotation.wake(now), passwords, waits, untold];
    let wake = wakes.into_iter().flatten().min();
    Ok(match (again, wake) {
        (true, _) => Outcome::Again(Duration::ZERO),
        (false, Some(wake)) => Outcome::Again(wake),
        (false, None) => Outcome::Done,
    })
}

type Built = Result<(Validated, Resources), Invalid>;

/// Notes when every pod of auth runs with the keys of this pass; `true` when a change
/// of keys waits for just that.
fn follow_keys(
    context: &Context,
    key: &ChatRef,
    built: &Built,
    applied: Option<&Result<Applied, apply::Error>>,
) -> bool {
    let (Ok((validated, _)), Some(Ok(applied))) = (built, applied) else {
        return false;
    };
    let auth = ("Deployment", format!("{}-auth", key.name));
    let runs = applied.wanted.contains(&auth)
        && context
            .children
            .of(key)
            .get(&auth)
            .is_some_and(|child| child.holds.is_some() && is_rolled_out(child));
    if !runs {
        return false;
    }
    let credentials = &validated.credentials;
    context.run_with_keys(key, credentials) && credentials.jwt_key_previous.is_some()
}

/// The fifth step: the status, and an event for each of its transitions. Returns after
/// what time progress may be told that was not told now.
async fn report(
    context: &Context,
    key: &ChatRef,
    chat: &ChatCluster,
    seen: &Observation,
) -> Result<Option<Duration>, apply::Error> {
    let status = status::compute(chat, seen, Timestamp::now());
    let before = chat.status.as_ref();
    if before == Some(&status) {
        return Ok(None);
    }
    if seen.hindrance.is_none() && status::is_progress(before, &status) {
        let since = context.since_written(key);
        if let Some(rest) = since.and_then(|it| PROGRESS.checked_sub(it)) {
            return Ok(Some(rest));
        }
    }
    if status::write(&context.client, key, &status).await? {
        for transition in status::transitions(before, &status) {
            context
                .announcer
                .announce(&chat.object_ref(&()), &transition)
                .await;
        }
        context.wrote(key, chat.metadata.uid.as_deref(), status);
    }
    Ok(None)
}
