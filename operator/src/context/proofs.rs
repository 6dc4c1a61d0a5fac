//! What was seen of a change of passwords: what its stage waits for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_events::Service;
use k8s_openapi::api::apps::v1::Deployment;

use crate::apply::Applied;
use crate::build::{login_check, meta};
use crate::chat::ChatRef;
use crate::children::state::{is_rolled_out, is_true};
use crate::children::{Child, Key};
use crate::credentials::{Credentials, PasswordStage};
use crate::resources::Resources;
use crate::validate::Validated;

/// By ChatCluster: with which logins it was seen, and how long a pod may take to end.
#[derive(Default)]
pub struct Proofs(Mutex<HashMap<ChatRef, (String, Duration)>>);

impl Proofs {
    /// There is an answer only when what the stage waits for was seen with just these
    /// logins.
    pub fn seen(&self, chat: &ChatRef, credentials: &Credentials) -> Option<Duration> {
        let all = self.lock();
        let (of, grace) = all.get(chat)?;
        (*of == identity(credentials)).then_some(*grace)
    }

    /// Looks at what a pass has applied. `true` when that lets the next stage begin.
    pub fn look(
        &self,
        chat: &ChatRef,
        validated: &Validated,
        resources: &Resources,
        applied: &Applied,
        children: &BTreeMap<Key, Child>,
    ) -> bool {
        // Nothing that is stopped proves anything.
        let holds = !validated.stopped
            && match validated.credentials.passwords.stage {
                PasswordStage::Announced | PasswordStage::Withdrawn => {
                    stores_agree(validated, children)
                }
                PasswordStage::Swapped => services_run(validated, applied, children),
                PasswordStage::Settled | PasswordStage::Retiring(_) => false,
            };
        if !holds {
            return false;
        }
        let seen = (identity(&validated.credentials), slowest(resources));
        self.lock().insert(chat.clone(), seen.clone()) != Some(seen)
    }

    pub fn forget(&self, chat: &ChatRef) {
        self.lock().remove(chat);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChatRef, (String, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stage, with its passwords.
fn identity(credentials: &Credentials) -> String {
    meta::hash(&(credentials.passwords.annotations(), credentials.own_data()))
}

/// Every store has let in and refused whom it should: the name of a Job tells whom.
fn stores_agree(chat: &Validated, children: &BTreeMap<Key, Child>) -> bool {
    login_check::names(chat).into_iter().all(|name| {
        let job = children.get(&("Job", name));
        job.is_some_and(|job| is_true(&job.status, "Complete"))
    })
}

/// Every pod of every service is one of this pass, and answers.
fn services_run(chat: &Validated, applied: &Applied, children: &BTreeMap<Key, Child>) -> bool {
    Service::ALL.into_iter().all(|service| {
        let deployment = ("Deployment", meta::name(chat, service.name()));
        let child = children.get(&deployment);
        applied.wanted.contains(&deployment)
            && child.is_some_and(|it| it.holds.is_some() && is_rolled_out(it))
    })
}

/// How long the pod that takes longest may take to end.
fn slowest(resources: &Resources) -> Duration {
    let seconds = |it: &Deployment| {
        let pod = it.spec.as_ref()?.template.spec.as_ref()?;
        u64::try_from(pod.termination_grace_period_seconds?).ok()
    };
    let longest = resources.deployments.iter().filter_map(seconds).max();
    Duration::from_secs(longest.unwrap_or_default())
}
