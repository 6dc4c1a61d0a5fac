//! Kinds that only some clusters have: which of them are there, and their watches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::{Config, Event};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::{children, follow, metadata};
use crate::context::Context;
use crate::kinds::{self, FOREIGN, Kind};

/// How often a cluster is asked for its kinds by who may not watch them.
const DISCOVERY: Duration = Duration::from_mins(1);

/// The kinds of other operators: their watches begin and end with their definitions.
pub struct Optional {
    context: Arc<Context>,
    scopes: Vec<Option<String>>,
    present: HashMap<&'static str, CancellationToken>,
}

impl Optional {
    pub fn new(context: &Arc<Context>, scopes: &[Option<String>]) -> Self {
        Self {
            context: context.clone(),
            scopes: scopes.to_vec(),
            present: HashMap::new(),
        }
    }

    fn appeared(&mut self, kind: &'static Kind) {
        if self.present.contains_key(kind.name) {
            return;
        }
        let stop = CancellationToken::new();
        for scope in self.scopes.clone() {
            let (stop, context) = (stop.clone(), self.context.clone());
            tokio::spawn(async move {
                let watch = children(context, kind, scope, CancellationToken::new());
                stop.run_until_cancelled(watch).await;
            });
        }
        self.present.insert(kind.name, stop);
    }

    fn vanished(&mut self, kind: &'static Kind) {
        if let Some(stop) = self.present.remove(kind.name) {
            stop.cancel();
            let children = &self.context.children;
            let list = children.begin_of_list();
            for scope in &self.scopes {
                children.end_of_list(kind, scope.as_deref(), list);
            }
        }
    }

    /// An API is there when all of its kinds are.
    fn report(&self) {
        let absent: BTreeSet<_> = FOREIGN
            .iter()
            .filter(|kind| !self.present.contains_key(kind.name))
            .filter_map(kinds::api)
            .collect();
        let all = FOREIGN.iter().filter_map(kinds::api);
        self.context
            .set_apis(all.filter(|api| !absent.contains(api)).collect());
    }
}

impl Drop for Optional {
    fn drop(&mut self) {
        for stop in self.present.values() {
            stop.cancel();
        }
    }
}

/// Which optional kinds there are, as soon as it changes.
pub async fn definitions(mut optional: Optional, synced: CancellationToken) {
    let resource = ApiResource::erase::<CustomResourceDefinition>(&());
    let config = Config::default().page_size(50);
    let client = optional.context.client.clone();
    let events = || metadata(&client, None, &resource, config.clone());
    let kind_of = |object: &DynamicObject| {
        let name = object.name_any();
        FOREIGN.iter().find(|kind| kind.definition() == name)
    };
    let mut listed = BTreeSet::new();
    let reach = optional.context.reach.clone();
    follow(&reach, "CustomResourceDefinition", events, |event| {
        match event {
            Event::Init => {
                listed.clear();
                return;
            }
            Event::InitApply(object) => {
                if let Some(kind) = kind_of(&object) {
                    listed.insert(kind.name);
                    optional.appeared(kind);
                }
                return;
            }
            Event::InitDone => {
                for kind in FOREIGN.iter().filter(|kind| !listed.contains(kind.name)) {
                    optional.vanished(kind);
                }
            }
            Event::Apply(object) => match kind_of(&object) {
                Some(kind) => optional.appeared(kind),
                None => return,
            },
            Event::Delete(object) => match kind_of(&object) {
                Some(kind) => optional.vanished(kind),
                None => return,
            },
        }
        optional.report();
        synced.cancel();
    })
    .await;
}

/// The same for an operator that has rights in some namespaces alone, and so may not
/// watch definitions: everybody may ask which kinds there are.
pub async fn discovery(mut optional: Optional, synced: CancellationToken) {
    loop {
        let mut pause = DISCOVERY;
        match discover(&optional.context.client).await {
            Ok(present) => {
                for kind in &FOREIGN {
                    if present.contains(kind.name) {
                        optional.appeared(kind);
                    } else {
                        optional.vanished(kind);
                    }
                }
                optional.report();
                synced.cancel();
            }
            Err(error) => {
                tracing::warn!("discovery: {error}");
                pause = Duration::from_secs(2);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn discover(client: &Client) -> kube::Result<BTreeSet<&'static str>> {
    let groups = client.list_api_groups().await?;
    let served = |kind: &Kind| {
        let version = format!("{}/{}", kind.group, kind.version);
        let mut versions = groups.groups.iter().flat_map(|group| &group.versions);
        versions
            .any(|served| served.group_version == version)
            .then_some(version)
    };
    let versions: BTreeSet<String> = FOREIGN.iter().filter_map(served).collect();
    let mut present = BTreeSet::new();
    for version in versions {
        let list = client.list_api_group_resources(&version).await?;
        let of_version = |kind: &&Kind| version == format!("{}/{}", kind.group, kind.version);
        let known = FOREIGN.iter().filter(of_version);
        present.extend(
            known
                .filter(|kind| list.resources.iter().any(|it| it.name == kind.plural))
                .map(|kind| kind.name),
        );
    }
    Ok(present)
}
