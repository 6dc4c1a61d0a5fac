//! The driver: which ChatClusters there are, when each is looked at, and the five
//! steps of one look.

pub mod proofs;
pub mod queue;
pub mod secrets;
mod stop;
#[cfg(test)]
pub mod testing;
pub mod watches;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::apply::{self, Applied, apply};
use crate::build::build;
use crate::children::{ChatRef, Children};
use crate::client::Reach;
use crate::crd::ChatCluster;
use crate::credentials::Credentials;
use crate::dereference::dereference;
use crate::events::Announcer;
use crate::facts::Api;
use crate::metrics;
use crate::resources::Resources;
use crate::status::{self, Observation, Pass, observe};
use crate::validate::{Defaults, Invalid, Validated, validate};
use proofs::Proofs;
use queue::{Outcome, Queue, Reason};
use secrets::Secrets;

/// Longer than any pass takes that still gets on.
const PASS: Duration = Duration::from_secs(50);

/// How often to look whether an object that must go has gone.
const WAIT: Duration = Duration::from_secs(2);

/// Everything that passes share.
pub struct Context {
    pub client: Client,
    pub reach: Arc<Reach>,
    pub defaults: Defaults,
    pub queue: Queue,
    pub children: Children,
    pub secrets: Secrets,
    pub proofs: Proofs,
    pub announcer: Announcer,
    chats: Mutex<HashMap<ChatRef, Known>>,
    apis: Mutex<BTreeSet<Api>>,
    /// The keys with which every pod of auth was seen to run.
    keys_in_use: Mutex<HashMap<ChatRef, String>>,
}

/// What is known of a ChatCluster.
#[derive(Clone)]
enum Known {
    Chat(Arc<ChatCluster>),
    Undecodable(Arc<Undecodable>),
}

/// A ChatCluster that a newer definition allows, or an older one did.
#[derive(Debug)]
pub struct Undecodable {
    pub reference: ObjectReference,
    pub generation: Option<i64>,
    pub error: String,
}

/// The ChatCluster of a pass, by name and uid.
#[derive(Clone, Debug)]
pub struct Chat {
    pub key: ChatRef,
    pub uid: String,
}

impl Context {
    pub fn new(
        client: Client,
        reach: Arc<Reach>,
        defaults: Defaults,
        announcer: Announcer,
    ) -> Self {
        Self {
            client,
            reach,
            defaults,
            announcer,
            queue: Queue::default(),
            children: Children::default(),
            secrets: Secrets::default(),
            proofs: Proofs::default(),
            chats: Mutex::default(),
            apis: Mutex::default(),
            keys_in_use: Mutex::default(),
        }
    }

    /// Takes in a ChatCluster, and looks at it when it is not just its status that changed.
    pub fn see(&self, key: ChatRef, chat: ChatCluster, reason: Reason) {
        let edited = |old: &Known| {
            let Known::Chat(old) = old else {
                return true;
            };
            let (old, new) = (&old.metadata, &chat.metadata);
            old.uid != new.uid
                || old.generation != new.generation
                || old.annotations != new.annotations
                || old.deletion_timestamp != new.deletion_timestamp
        };
        let mut chats = lock(&self.chats);
        let is_news = chats.get(&key).is_none_or(edited);
        chats.insert(key.clone(), Known::Chat(Arc::new(chat)));
        drop(chats);
        if is_news {
            self.queue.add(key, reason);
        }
    }

    /// Takes in a ChatCluster that cannot be understood.
    pub fn see_undecodable(&self, key: ChatRef, object: Undecodable) {
        tracing::warn!(chat = %key, "cannot be understood: {}", object.error);
        lock(&self.chats).insert(key.clone(), Known::Undecodable(Arc::new(object)));
        self.queue.add(key, Reason::First);
    }

    /// Takes in that a ChatCluster is gone.
    pub fn forget(&self, key: &ChatRef) {
        lock(&self.chats).remove(key);
        lock(&self.keys_in_use).remove(key);
        self.proofs.forget(key);
        self.secrets.forget(key);
        self.queue.forget(key);
    }

    /// All ChatClusters, each to be looked at once.
    pub fn add_all(&self, reason: Reason) {
        for key in self.chats() {
            self.queue.add(key, reason);
        }
    }

    pub fn chats(&self) -> Vec<ChatRef> {
        lock(&self.chats).keys().cloned().collect()
    }

    /// Takes in which kinds of other operators there are.
    pub fn set_apis(&self, apis: BTreeSet<Api>) {
        let before = std::mem::replace(&mut *lock(&self.apis), apis.clone());
        if before != apis {
            tracing::info!(?apis, "optional kinds that this cluster knows");
            self.add_all(Reason::Touched);
        }
    }

    pub fn apis(&self) -> BTreeSet<Api> {
        lock(&self.apis).clone()
    }

    /// Whether every pod of auth is known to run with these keys.
    pub fn keys_are_in_use(&self, key: &ChatRef, credentials: &Credentials) -> bool {
        lock(&self.keys_in_use).get(key) == Some(&keys(credentials))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keys(credentials: &Credentials) -> String {
    crate::build::meta::hash(&(&credentials.jwt_key, &credentials.jwt_key_previous))
}

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
    let known = lock(&context.chats).get(key).cloned();
    let chat = match known {
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
    report(context, key, &chat, &seen).await?;
    let applied = applied.transpose()?.unwrap_or_default();
    if !applied.conflicts.is_empty() {
        // Nobody tells when somebody else's object goes.
        return Ok(Outcome::Failed);
    }

    let (now, all) = (Timestamp::now(), &facts.credentials);
    // Without a pod, nothing is seen, and so nothing waited for.
    let passwords = all.passwords.wake(now).filter(|_| !chat.spec.stopped);
    let wakes = [all.rotation.wake(now), passwords];
    let wake = wakes.into_iter().flatten().min();
    Ok(match (again, wake) {
        (true, _) => Outcome::Again(Duration::ZERO),
        // Their end may have been missed.
        (false, _) if !applied.waits.is_empty() => Outcome::Again(WAIT),
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
            .is_some_and(|child| child.holds.is_some() && status::is_rolled_out(child));
    if !runs {
        return false;
    }
    let keys = keys(&validated.credentials);
    let before = lock(&context.keys_in_use).insert(key.clone(), keys.clone());
    before != Some(keys) && validated.credentials.jwt_key_previous.is_some()
}

/// The fifth step: the status, and an event for each of its transitions.
async fn report(
    context: &Context,
    key: &ChatRef,
    chat: &ChatCluster,
    seen: &Observation,
) -> Result<(), apply::Error> {
    let status = status::compute(chat, seen, Timestamp::now());
    let before = chat.status.as_ref();
    if status::write(&context.client, key, before, &status).await? {
        for transition in status::transitions(before, &status) {
            context
                .announcer
                .announce(&chat.object_ref(&()), &transition)
                .await;
        }
        // The watch will say the same; until then a next pass must know it.
        if let Some(Known::Chat(known)) = lock(&context.chats).get_mut(key)
            && known.metadata.uid == chat.metadata.uid
        {
            Arc::make_mut(known).status = Some(status);
        }
    }
    Ok(())
}
