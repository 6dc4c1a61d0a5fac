//! The watches: one for each kind (and watched namespace), shared by all ChatClusters.

mod optional;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chat::{ChatRef, Undecodable};
use crate::children::MANAGED_BY;
use crate::client::{Reach, is_answer};
use crate::context::Context;
use crate::context::queue::Reason;
use crate::crd::ChatCluster;
use crate::digest;
use crate::kinds::{self, BUILT_IN, FOREIGN, Kind};
use optional::{Optional, definitions, discovery};

/// Whole objects of a kind that are held in memory at a time while they are listed.
const PAGE: u32 = 100;

/// What is watched, and whether the first lists are complete.
pub struct Watches {
    pub tasks: TaskTracker,
    synced: Vec<CancellationToken>,
}

impl Watches {
    /// Starts all watches: of these namespaces, or of all when there are none.
    pub fn start(context: &Arc<Context>, namespaces: &[String], stop: &CancellationToken) -> Self {
        let mut watches = Self {
            tasks: TaskTracker::new(),
            synced: Vec::new(),
        };
        let scopes: Vec<Option<String>> = if namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.iter().cloned().map(Some).collect()
        };
        for scope in &scopes {
            let synced = watches.expect();
            watches.run(stop, chats(context.clone(), scope.clone(), synced));
            let synced = watches.expect();
            watches.run(stop, secrets(context.clone(), scope.clone(), synced));
            for kind in BUILT_IN.iter().filter(|kind| **kind != kinds::SECRET) {
                let synced = watches.expect();
                watches.run(stop, children(context.clone(), kind, scope.clone(), synced));
            }
        }
        let synced = watches.expect();
        let optional = Optional::new(context, &scopes);
        if namespaces.is_empty() {
            watches.run(stop, definitions(optional, synced));
        } else {
            watches.run(stop, discovery(optional, synced));
        }
        watches.tasks.close();
        watches
    }

    fn expect(&mut self) -> CancellationToken {
        let synced = CancellationToken::new();
        self.synced.push(synced.clone());
        synced
    }

    fn run(&self, stop: &CancellationToken, watch: impl Future<Output = ()> + Send + 'static) {
        let stop = stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(watch).await });
    }

    /// Cancelled one by one, when the list of each watch is complete.
    pub fn synced(&self) -> Vec<CancellationToken> {
        self.synced.clone()
    }
}

/// The longest pause before a watch is tried again, so that a server that was away is
/// noticed soon when it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A watch that went well for so long has nothing to do with its last failure.
const WELL: Duration = Duration::from_mins(1);

fn api<K>(client: &Client, scope: Option<&str>, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Metadata alone, as objects without content.
fn metadata(
    client: &Client,
    scope: Option<&str>,
    resource: &ApiResource,
    config: Config,
) -> Events {
    let api: Api<PartialObjectMeta<DynamicObject>> = api(client, scope, resource);
    let bare = |object: PartialObjectMeta<DynamicObject>| DynamicObject {
        types: None,
        metadata: object.metadata,
        data: serde_json::Value::Null,
    };
    watcher(api, config)
        .map_ok(move |event| match event {
            Event::Apply(object) => Event::Apply(bare(object)),
            Event::Delete(object) => Event::Delete(bare(object)),
            Event::InitApply(object) => Event::InitApply(bare(object)),
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
        })
        .boxed()
}

type Events = BoxStream<'static, Result<Event<DynamicObject>, watcher::Error>>;

/// Hands on what a watch tells, for ever.
async fn follow(
    reach: &Reach,
    what: &str,
    begin: impl Fn() -> Events + Send,
    mut take: impl FnMut(Event<DynamicObject>) + Send,
) {
    let mut failures = 0;
    let mut last = Instant::now();
    loop {
        let mut events = begin();
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    take(event);
                    continue;
                }
                Err(error) => error,
            };
            tracing::warn!(what, "watch: {error}");
            let mut answers = reach.answers();
            failures = if last.elapsed() > WELL {
                0
            } else {
                failures + 1
            };
            last = Instant::now();
            let pause = Duration::from_millis(200) * 2_u32.pow(failures.min(5));
            let jitter = rand::random_range(0.8..1.2);
            tokio::time::sleep(pause.min(LONGEST_PAUSE).mul_f64(jitter)).await;
            if is_unanswered(&error) {
                reach.turn(&mut answers).await;
            }
            // The watcher would go on from a version that the server has forgotten.
            if let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = &error
                && status.code == 410
            {
                break;
            }
        }
    }
}

/// Whether the server is away, and not just the watch.
fn is_unanswered(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            !matches!(error, kube::Error::Api(status) if is_answer(status.code))
        }
        _ => false,
    }
}

/// ChatClusters. One that cannot be understood is left alone, and the others go on.
async fn chats(context: Arc<Context>, scope: Option<String>, synced: CancellationToken) {
    let api: Api<DynamicObject> = api(
        &context.client,
        scope.as_deref(),
        &ApiResource::erase::<ChatCluster>(&()),
    );
    let mut listed = BTreeSet::new();
    follow(
        &context.reach,
        "ChatCluster",
        || watcher(api.clone(), Config::default().page_size(PAGE)).boxed(),
        |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                listed.extend(key(&object));
                chat(&context, object, Reason::First);
            }
            Event::InitDone => {
                let gone = context.chats().into_iter().filter(|key| {
                    let here = scope.as_ref().is_none_or(|scope| *scope == key.namespace);
                    here && !listed.contains(key)
                });
                gone.for_each(|key| context.forget(&key));
                listed.clear();
                synced.cancel();
            }
            Event::Apply(object) => chat(&context, object, Reason::Edited),
            Event::Delete(object) => {
                if let Some(key) = key(&object) {
                    context.forget(&key);
                }
            }
        },
    )
    .await;
}

fn key(object: &DynamicObject) -> Option<ChatRef> {
    Some(ChatRef {
        namespace: object.namespace()?,
        name: object.metadata.name.clone()?,
    })
}

fn chat(context: &Context, mut object: DynamicObject, reason: Reason) {
    let Some(key) = key(&object) else {
        return;
    };
    object.metadata.managed_fields = None;
    let reference = object.object_ref(&ApiResource::erase::<ChatCluster>(&()));
    let generation = object.metadata.generation;
    match object.try_parse::<ChatCluster>() {
        Ok(chat) => context.see(key, chat, reason),
        Err(error) => context.see_undecodable(
            key,
            Undecodable {
                reference,
                generation,
                error: error.to_string(),
            },
        ),
    }
}

/// Objects of ours, of one kind.
async fn children(
    context: Arc<Context>,
    kind: &'static Kind,
    scope: Option<String>,
    synced: CancellationToken,
) {
    let config = Config::default()
        .labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1))
        .page_size(PAGE);
    let resource = kind.resource();
    let (client, scope) = (&context.client, scope.as_deref());
    let events = || {
        let config = config.clone();
        if kind.metadata_only() {
            metadata(client, scope, &resource, config)
        } else {
            watcher(api::<DynamicObject>(client, scope, &resource), config).boxed()
        }
    };
    let mut list = 0;
    follow(&context.reach, kind.name, events, |event| match event {
        Event::Init => list = context.children.begin_of_list(),
        Event::InitApply(object) | Event::Apply(object) => {
            touched(&context, context.children.see(kind, &object));
        }
        Event::InitDone => {
            touched(&context, context.children.end_of_list(kind, scope, list));
            synced.cancel();
        }
        Event::Delete(object) => touched(&context, context.children.forget(kind, &object.metadata)),
    })
    .await;
}

fn touched(context: &Context, chats: impl IntoIterator<Item = ChatRef>) {
    for chat in chats {
        context.queue.add(chat, Reason::Touched);
    }
}

/// All Secrets, by metadata: ours, and those that ChatClusters refer to.
async fn secrets(context: Arc<Context>, scope: Option<String>, synced: CancellationToken) {
    let kind = kinds::by_name("Secret").unwrap_or(&BUILT_IN[1]);
    let config = Config::default().page_size(500);
    let resource = kind.resource();
    let events = || metadata(&context.client, scope.as_deref(), &resource, config.clone());
    // A pass must not begin between the two: it would know one half.
    let see = |object: &DynamicObject, version: Option<&str>| {
        let namespace = object.namespace().unwrap_or_default();
        let waked = context.secrets.see(&namespace, &object.name_any(), version);
        let owner = match version {
            Some(_) => context.children.see(kind, object),
            None => context.children.forget(kind, &object.metadata),
        };
        touched(&context, waked.into_iter().chain(owner));
    };
    let mut list = 0;
    follow(&context.reach, kind.name, events, |event| match event {
        Event::Init => list = context.children.begin_of_list(),
        Event::InitApply(object) | Event::Apply(object) => {
            see(&object, object.metadata.resource_version.as_deref());
        }
        Event::InitDone => {
            touched(
                &context,
                context.children.end_of_list(kind, scope.as_deref(), list),
            );
            synced.cancel();
        }
        Event::Delete(object) => see(&object, None),
    })
    .await;
}

/// Reads all objects of ours once, page by page, and notes what each holds, so that
/// an operator that begins to lead writes nothing where nothing changed.
pub async fn verify(context: &Context, namespaces: &[String]) {
    context.children.distrust();
    let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|name| Some(name.as_str())).collect()
    };
    let apis = context.apis();
    let optional = FOREIGN
        .iter()
        .filter(|kind| kinds::api(kind).is_some_and(|api| apis.contains(&api)));
    for kind in BUILT_IN.iter().chain(optional) {
        for scope in &scopes {
            if let Err(error) = verify_kind(context, kind, *scope).await {
                // Each object is then applied once more, which changes nothing.
                tracing::warn!(kind = kind.name, "first look: {error}");
            }
        }
    }
}

async fn verify_kind(
    context: &Context,
    kind: &'static Kind,
    scope: Option<&str>,
) -> kube::Result<()> {
    let api: Api<DynamicObject> = api(&context.client, scope, &kind.resource());
    let selector = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
    let mut page = ListParams::default().labels(&selector).limit(PAGE);
    loop {
        let list = api.list(&page).await?;
        for object in &list.items {
            if let Some(holds) = digest::of_live(object) {
                context.children.verify(kind, object, holds);
            }
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}
