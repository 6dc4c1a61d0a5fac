//! The calls of the apply step.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{
    Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::{Client, Resource};
use serde_json::{Value, json};
use tracing::Instrument;

use super::plan::Desired;
use crate::build::meta::OWNER_UID;
use crate::chat::Chat;
use crate::children::{Owner, owner_of};
use crate::digest::MANAGER;
use crate::kinds::Kind;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How often a call is made that the server could not answer.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Why a pass could not do what it wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{action} {object}: {source}")]
    Call {
        action: &'static str,
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("{action} {object}: no answer within 10 s")]
    Timeout {
        action: &'static str,
        object: String,
    },
    #[error("volumes of {object} cannot grow: {source}")]
    Volumes {
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("no random numbers: {0}")]
    Random(String),
    /// A mistake of ours: the kinds of `Resources` and of the table differ.
    #[error("an object of an unknown kind was built: {0}")]
    Unknown(String),
}

impl Error {
    /// The server understood, and says that the object cannot be so.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_invalid)
    }

    fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// The fields of which the server says that somebody else has set them, and who.
    fn fields_of_others(&self) -> Option<String> {
        let details = self.status()?.details.as_ref()?;
        let conflicts = details
            .causes
            .iter()
            .filter(|it| it.reason == "FieldManagerConflict");
        let fields: Vec<_> = conflicts
            .map(|it| format!("{} ({})", it.field, it.message))
            .collect();
        (!fields.is_empty()).then(|| fields.join(", "))
    }

    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// What the server said, if it did.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Call {
                source: kube::Error::Api(status),
                ..
            }
            | Self::Volumes {
                source: kube::Error::Api(status),
                ..
            } => Some(status),
            _ => None,
        }
    }

    /// Whether the same call may go well a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Call {
                source: kube::Error::Api(status),
                ..
            } => matches!(status.code, 429 | 500 | 502..=504),
            Self::Call { source, .. } => matches!(
                source,
                kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_)
            ),
            Self::Volumes { .. } | Self::Random(_) | Self::Unknown(_) => false,
        }
    }
}

/// What the server made of it.
pub enum Sent {
    Holds(Box<DynamicObject>, Option<TakenBack>),
    /// There is one that is not ours.
    Foreign,
    /// There is one of a former ChatCluster.
    Former,
}

/// Fields of ours that somebody had set to something else.
#[derive(Debug)]
pub struct TakenBack {
    pub object: ObjectReference,
    /// Each field with who had set it.
    pub what: String,
}

/// Applies an object that is not there, and touches none that is: no object has the
/// resource version 1, so that the server refuses when there is one.
pub async fn create(client: &Client, chat: &Chat, desired: &Desired) -> Result<Sent, Error> {
    let absent = json!({"resourceVersion": "1"});
    let sent = patch(client, chat, desired, &absent, Others::Win).await;
    if !sent.as_ref().is_err_and(Error::is_conflict) {
        return sent.map(|live| Sent::Holds(Box::new(live), None));
    }
    // Either the watch has not told yet, or it is not ours, or it lost our labels.
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &chat.key.namespace,
        &desired.kind.resource(),
    );
    let found = call("get", desired, || api.get_metadata_opt(&desired.name)).await?;
    let Some(found) = found else {
        return Ok(Sent::Former);
    };
    match owner_of(&found.metadata) {
        // One that is to be kept has no owner, and may have lost its labels.
        Owner::Other if !was_kept_for(&found.metadata, &chat.uid) => return Ok(Sent::Foreign),
        Owner::Chat(uid) if uid != chat.uid => return Ok(Sent::Former),
        _ => {}
    }
    let uid = found.metadata.uid.unwrap_or_default();
    change(client, chat, desired, &uid).await
}

/// Whether there is no object with this uid any more.
pub async fn is_gone(
    client: &Client,
    chat: &Chat,
    desired: &Desired,
    uid: &str,
) -> Result<bool, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &chat.key.namespace,
        &desired.kind.resource(),
    );
    let found = call("get", desired, || api.get_metadata_opt(&desired.name)).await?;
    Ok(found.is_none_or(|found| found.metadata.uid.as_deref() != Some(uid)))
}

fn was_kept_for(metadata: &ObjectMeta, uid: &str) -> bool {
    let annotations = metadata.annotations.as_ref();
    metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        && annotations
            .and_then(|all| all.get(OWNER_UID))
            .map(String::as_str)
            == Some(uid)
}

/// Applies an object over the one with this uid.
pub async fn change(
    client: &Client,
    chat: &Chat,
    desired: &Desired,
    uid: &str,
) -> Result<Sent, Error> {
    let same = json!({"uid": uid});
    let mut sent = patch(client, chat, desired, &same, Others::Win).await;
    let theirs = sent.as_ref().err().and_then(Error::fields_of_others);
    if theirs.is_some() {
        sent = patch(client, chat, desired, &same, Others::Lose).await;
    }
    match sent {
        // It was replaced in this moment; the watch will tell.
        Err(error) if error.is_conflict() => Ok(Sent::Former),
        Err(error) => Err(error),
        Ok(live) => {
            let object = live.object_ref(&desired.kind.resource());
            let taken_back = theirs.map(|what| TakenBack { object, what });
            Ok(Sent::Holds(Box::new(live), taken_back))
        }
    }
}

/// Who wins where somebody else has set a field of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Win,
    Lose,
}

async fn patch(
    client: &Client,
    chat: &Chat,
    desired: &Desired,
    precondition: &Value,
    others: Others,
) -> Result<DynamicObject, Error> {
    let mut body = desired.body.clone();
    for (field, value) in precondition.as_object().into_iter().flatten() {
        body["metadata"][field] = value.clone();
    }
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &chat.key.namespace,
        &desired.kind.resource(),
    );
    let parameters = PatchParams {
        force: others == Others::Lose,
        ..PatchParams::apply(MANAGER)
    };
    let body = Patch::Apply(body);
    call("apply", desired, || {
        api.patch(&desired.name, &parameters, &body)
    })
    .await
}

/// Deletes the object with this uid, and what belongs to it.
pub async fn delete(
    client: &Client,
    chat: &Chat,
    kind: &Kind,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    delete_with(client, chat, kind, name, uid, PropagationPolicy::Background).await
}

pub async fn delete_with(
    client: &Client,
    chat: &Chat,
    kind: &Kind,
    name: &str,
    uid: &str,
    propagation: PropagationPolicy,
) -> Result<(), Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &chat.key.namespace, &kind.resource());
    let parameters = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let object = format!("{} {name}", kind.name);
    match call("delete", &object, || api.delete(name, &parameters)).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

impl Display for Desired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.name, self.name)
    }
}

/// Makes a call, and again when the server had no time for it. Every call of a
/// pass may be made twice: applies, gets and deletes by uid.
pub async fn call<T, F>(
    action: &'static str,
    object: &impl Display,
    mut make: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = kube::Result<T>>,
{
    let mut attempt = 0;
    loop {
        let span = tracing::info_span!("call", action, %object, attempt);
        let error = match tokio::time::timeout(CALL, make().instrument(span)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(source)) => Error::Call {
                action,
                object: object.to_string(),
                source,
            },
            Err(_) => Error::Timeout {
                action,
                object: object.to_string(),
            },
        };
        attempt += 1;
        if attempt == ATTEMPTS || !error.is_passing() {
            return Err(error);
        }
        let pause = PAUSE * 2_u32.pow(attempt - 1);
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
    }
}
