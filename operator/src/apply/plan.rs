//! What to do with each object. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Error;
use crate::build::meta::TEMPLATE;
use crate::build::secret::{CREDENTIALS, JWT};
use crate::children::{Child, Key, Owner, state};
use crate::digest;
use crate::kinds::{self, Kind};
use crate::resources::Resources;

/// An object as it should be.
#[derive(Debug)]
pub struct Desired {
    pub kind: &'static Kind,
    pub name: String,
    pub body: Value,
    pub digest: u64,
}

/// What to do with an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It holds what it should.
    Keep,
    /// There is none that we know of.
    Create,
    /// The one with this uid differs, or may differ.
    Change(String),
    /// The one with this uid must be gone first.
    Wait(String),
    /// It is not ours.
    Refuse,
}

pub fn step(desired: &Desired, child: Option<&Child>, owner: &str) -> Step {
    let Some(child) = child else {
        return Step::Create;
    };
    if child.deleting {
        return Step::Wait(child.uid.clone());
    }
    match &child.owner {
        Owner::Other => Step::Refuse,
        Owner::Lost(uid) if uid != owner => Step::Refuse,
        Owner::Lost(_) => Step::Change(child.uid.clone()),
        // Left by a ChatCluster of the same name; the garbage collector takes it away.
        Owner::Chat(uid) if uid != owner => Step::Wait(child.uid.clone()),
        _ if child.holds == Some(desired.digest) => Step::Keep,
        // What it runs cannot be changed, and its name says which image that is.
        _ if desired.kind.name == "Job" => Step::Keep,
        Owner::Chat(_) | Owner::Kept => Step::Change(child.uid.clone()),
    }
}

/// The Deployments of a group that wait for their turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turns {
    pub waiting: Vec<String>,
    /// Whether what they wait for is only known once this pass has written.
    pub look_again: bool,
}

/// Takes those Deployments out of a group that would get other pods while an earlier one
/// has old ones. So an upgrade starts one service at a time, which takes little room and
/// leaves the machines to those who chat, and a version that does not start comes no
/// further than its first service.
pub fn take_turns(group: &mut Vec<Desired>, known: &BTreeMap<Key, Child>, owner: &str) -> Turns {
    let mut turns = Turns::default();
    let mut busy = false;
    let waiting = group.extract_if(.., |desired| {
        let child = known.get(&(desired.kind.name, desired.name.clone()));
        let Some(child) = child.filter(|_| desired.kind.name == "Deployment") else {
            return false;
        };
        let changes = matches!(step(desired, Some(child), owner), Step::Change(_));
        let template = desired.body["metadata"]["annotations"][TEMPLATE].as_str();
        let replaces = changes && child.template.as_deref() != template;
        if replaces && busy {
            return true;
        }
        turns.look_again |= replaces;
        busy |= replaces || state::has_old_pods(child);
        false
    });
    turns.waiting = waiting.map(|it| it.name).collect();
    turns.look_again &= !turns.waiting.is_empty();
    turns
}

/// What a former pass made and nobody wants now. Kept objects are not among them.
pub fn orphans<'a>(
    known: &'a BTreeMap<Key, Child>,
    wanted: &'a BTreeSet<Key>,
    held: &'a [String],
    owner: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a Child)> {
    known.iter().filter(move |(key, child)| {
        !wanted.contains(*key)
            && !held.contains(&key.1)
            && !child.deleting
            && child.owner == Owner::Chat(owner.to_owned())
    })
}

/// Everything that was built, in groups: what others need comes first.
pub fn in_order(resources: Resources) -> Result<(Vec<Vec<Desired>>, Vec<String>), Error> {
    let Resources {
        service_accounts,
        secrets,
        config_maps,
        network_policies,
        services,
        stateful_sets,
        jobs,
        deployments,
        pod_disruption_budgets,
        autoscalers,
        ingresses,
        foreign,
        held,
    } = resources;
    // After a crash between them, the others must not seem to be all that is left of it.
    let (source, secrets) = group(secrets)?.into_iter().partition(is_source);
    let groups = vec![
        source,
        group(service_accounts)?,
        secrets,
        group(config_maps)?,
        group(network_policies)?,
        group(services)?,
        group(stateful_sets)?,
        group(jobs)?,
        group(deployments)?,
        group(pod_disruption_budgets)?,
        group(autoscalers)?,
        group(ingresses)?,
        group(foreign)?,
    ];
    Ok((groups, held))
}

/// Whether other objects are made of what this Secret holds.
pub fn is_source(desired: &Desired) -> bool {
    let mut parts = [CREDENTIALS, JWT].into_iter();
    desired.kind.name == "Secret" && parts.any(|it| desired.name.ends_with(&format!("-{it}")))
}

fn group<T: Serialize>(objects: Vec<T>) -> Result<Vec<Desired>, Error> {
    objects.into_iter().map(desired).collect()
}

fn desired<T: Serialize>(object: T) -> Result<Desired, Error> {
    let body = serde_json::to_value(object).map_err(|error| Error::Unknown(error.to_string()))?;
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    match (kind.and_then(kinds::by_name), name) {
        (Some(kind), Some(name)) => Ok(Desired {
            kind,
            name: name.to_owned(),
            digest: digest::of_desired(&body),
            body,
        }),
        _ => Err(Error::Unknown(format!("{kind:?} {name:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
    use kube::api::ObjectMeta;
    use serde_json::json;

    use super::*;

    fn child(owner: Owner) -> Child {
        let object = serde_json::json!({"metadata": {
            "name": "demo-web", "namespace": "n", "uid": "child",
            "labels": {"app.kubernetes.io/managed-by": "chat-operator", "app.kubernetes.io/instance": "demo"},
        }});
        let children = crate::children::Children::default();
        let object = serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}"));
        let chat = children
            .see(
                kinds::by_name("ConfigMap").unwrap_or_else(|| panic!()),
                &object,
            )
            .unwrap_or_else(|| panic!());
        let known = children.of(&chat).into_values().next();
        Child {
            owner,
            ..known.unwrap_or_else(|| panic!())
        }
    }

    fn map() -> Desired {
        desired(ConfigMap {
            metadata: ObjectMeta {
                name: Some("demo-web".into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    fn ours() -> Owner {
        Owner::Chat("chat".into())
    }

    #[test]
    fn nothing_is_sent_when_the_object_is_known_to_hold_it() {
        let mut held = child(ours());
        held.holds = Some(map().digest);
        assert_eq!(step(&map(), Some(&held), "chat"), Step::Keep);
        held.holds = Some(1);
        assert_eq!(
            step(&map(), Some(&held), "chat"),
            Step::Change("child".into())
        );
        held.holds = None;
        assert_eq!(
            step(&map(), Some(&held), "chat"),
            Step::Change("child".into())
        );
        assert_eq!(step(&map(), None, "chat"), Step::Create);
    }

    #[test]
    fn an_object_of_somebody_else_is_refused_even_if_it_looks_right() {
        let mut foreign = child(Owner::Other);
        foreign.holds = Some(map().digest);
        assert_eq!(step(&map(), Some(&foreign), "chat"), Step::Refuse);
    }

    #[test]
    fn what_a_former_chat_cluster_left_goes_first_unless_it_was_to_be_kept() {
        assert_eq!(
            step(&map(), Some(&child(Owner::Chat("former".into()))), "chat"),
            Step::Wait("child".into())
        );
        assert_eq!(
            step(&map(), Some(&child(Owner::Kept)), "chat"),
            Step::Change("child".into())
        );
        let leaving = Child {
            deleting: true,
            ..child(ours())
        };
        assert_eq!(
            step(&map(), Some(&leaving), "chat"),
            Step::Wait("child".into())
        );
    }

    #[test]
    fn what_lost_its_owner_is_taken_back_by_that_owner_alone() {
        let lost = child(Owner::Lost("chat".into()));
        assert_eq!(
            step(&map(), Some(&lost), "chat"),
            Step::Change("child".into())
        );
        assert_eq!(step(&map(), Some(&lost), "another"), Step::Refuse);
    }

    #[test]
    fn a_job_is_never_changed() {
        let job = Desired {
            kind: kinds::by_name("Job").unwrap_or_else(|| panic!()),
            ..map()
        };
        assert_eq!(step(&job, Some(&child(ours())), "chat"), Step::Keep);
    }

    /// A Deployment that should get the template `new`, and what is there of it: its
    /// template, whether it is applied, and how many of its pods are new ones of two.
    fn turn(name: &'static str, template: &str, holds: bool, updated: i32) -> (Desired, Child) {
        let desired = Desired {
            kind: kinds::by_name("Deployment").unwrap_or_else(|| panic!()),
            name: name.to_owned(),
            body: json!({"metadata": {"annotations": {TEMPLATE: "new"}}}),
            digest: 1,
        };
        let counts = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": updated});
        let child = Child {
            template: Some(template.to_owned()),
            holds: holds.then_some(1),
            status: json!({"generation": 2, "status": counts}),
            ..child(ours())
        };
        (desired, child)
    }

    /// Who is sent, who waits, and whether the next pass comes at once.
    fn turns<const N: usize>(parts: [(Desired, Child); N]) -> (Vec<String>, Vec<String>, bool) {
        let known = parts.iter().map(|(desired, child)| {
            let key = (desired.kind.name, desired.name.clone());
            (key, child.clone())
        });
        let known = known.collect();
        let mut group = parts.map(|(desired, _)| desired).into();
        let Turns {
            waiting,
            look_again,
        } = take_turns(&mut group, &known, "chat");
        let sent = group.into_iter().map(|it| it.name).collect();
        (sent, waiting, look_again)
    }

    #[test]
    fn one_deployment_gets_other_pods_at_a_time() {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let old = |name| turn(name, "old", false, 2);
        assert_eq!(
            turns([old("auth"), old("users"), old("web")]),
            (names(&["auth"]), names(&["users", "web"]), true)
        );
        // Its status will tell when it is done.
        assert_eq!(
            turns([turn("auth", "new", true, 1), old("users")]),
            (names(&["auth"]), names(&["users"]), false)
        );
        assert_eq!(
            turns([turn("auth", "new", true, 2), old("users"), old("web")]),
            (names(&["auth", "users"]), names(&["web"]), true)
        );
    }

    #[test]
    fn whoever_keeps_its_pods_waits_for_nobody() {
        let rolling = turn("auth", "new", true, 1);
        let scaled = turn("users", "new", false, 2);
        let (sent, waiting, _) = turns([rolling, scaled]);
        assert_eq!((sent.len(), waiting.len()), (2, 0));
    }

    #[test]
    fn orphans_are_ours_and_neither_wanted_nor_held_nor_kept() {
        let key = |name: &str| ("Deployment", name.to_owned());
        let known = BTreeMap::from([
            (key("orphan"), child(ours())),
            (key("wanted"), child(ours())),
            (key("held"), child(ours())),
            (key("kept"), child(Owner::Kept)),
            (key("theirs"), child(Owner::Other)),
            (key("former"), child(Owner::Chat("former".into()))),
        ]);
        let wanted = BTreeSet::from([key("wanted")]);
        let held = ["held".to_owned()];
        let found: Vec<_> = orphans(&known, &wanted, &held, "chat")
            .map(|(key, _)| key.1.as_str())
            .collect();
        assert_eq!(found, ["orphan"]);
    }

    #[test]
    fn what_others_need_comes_first() {
        let named = |name: &str| ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        };
        let resources = Resources {
            deployments: vec![Deployment {
                metadata: named("d"),
                ..Deployment::default()
            }],
            service_accounts: vec![ServiceAccount {
                metadata: named("a"),
                ..ServiceAccount::default()
            }],
            ..Resources::default()
        };
        let (groups, _) = in_order(resources).unwrap_or_else(|error| panic!("{error}"));
        let kinds: Vec<_> = groups.iter().flatten().map(|it| it.kind.name).collect();
        assert_eq!(kinds, ["ServiceAccount", "Deployment"]);
    }

    #[test]
    fn the_secrets_that_others_are_made_of_are_there_before_them() {
        let secret = |name: &str| Secret {
            metadata: ObjectMeta {
                name: Some(name.into()),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        };
        let resources = Resources {
            secrets: ["demo-auth", "demo-credentials", "demo-jwt"]
                .map(secret)
                .into(),
            ..Resources::default()
        };
        let (groups, _) = in_order(resources).unwrap_or_else(|error| panic!("{error}"));
        let groups = groups.iter().filter(|group| !group.is_empty());
        let names: Vec<Vec<_>> = groups
            .map(|group| group.iter().map(|it| it.name.as_str()).collect())
            .collect();
        assert_eq!(
            names,
            [vec!["demo-credentials", "demo-jwt"], vec!["demo-auth"]]
        );
    }
}
