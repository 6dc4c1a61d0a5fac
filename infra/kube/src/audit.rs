//! Which calls were made, by the API server's own account.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// Whose calls are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    Off,
    /// Everybody's but those of the control plane itself.
    Clients,
    Everything,
}

/// The audit log of one control plane. An event is written when its answer has
/// been sent, so it may come a moment later than the answer.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// A moment in an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// One request. A watch counts when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub user: String,
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// With the subresource: `deployments/status`. The path, when no resource
    /// was asked for: `/version`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// The status of the answer.
    pub code: u16,
    /// When the API server had read the request.
    pub asked: Timestamp,
    /// When it had sent the answer, or has begun to for a watch.
    pub answered: Timestamp,
}

impl Call {
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// How often each user did what to which resource.
pub fn count(calls: &[Call]) -> BTreeMap<(String, String, String), usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        let key = (call.user.clone(), call.verb.clone(), call.resource.clone());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Now, to leave out what was before.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.read(0)?.len() as u64))
    }

    pub fn calls(&self) -> Result<Vec<Call>> {
        self.calls_since(Mark(0))
    }

    pub fn calls_since(&self, mark: Mark) -> Result<Vec<Call>> {
        self.read(mark.0)?.lines().map(parse).collect()
    }

    /// Whole lines from an offset on: the last one may still be in the making.
    fn read(&self, from: u64) -> Result<String> {
        let mut file = match std::fs::File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
            file => file.with_context(|| format!("{} cannot be read", self.path.display()))?,
        };
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |end| end + 1));
        Ok(String::from_utf8(bytes)?)
    }
}

/// What the API server writes down: one event for each request.
pub(crate) fn policy(audit: Audit) -> Option<Value> {
    let own = json!({
        "level": "None",
        "users": [
            "system:apiserver",
            "system:kube-controller-manager",
            "system:kube-scheduler",
        ],
    });
    let own_controllers = json!({
        "level": "None",
        "userGroups": ["system:serviceaccounts:kube-system"],
    });
    let watches = json!({
        "level": "Metadata",
        "verbs": ["watch"],
        "omitStages": ["RequestReceived", "ResponseComplete"],
    });
    let others = json!({
        "level": "Metadata",
        "omitStages": ["RequestReceived", "ResponseStarted"],
    });
    let rules = match audit {
        Audit::Off => return None,
        Audit::Clients => vec![own, own_controllers, watches, others],
        Audit::Everything => vec![watches, others],
    };
    Some(json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitManagedFields": true,
        "rules": rules,
    }))
}

fn parse(line: &str) -> Result<Call> {
    let event: Event =
        serde_json::from_str(line).with_context(|| format!("not an audit event: {line}"))?;
    let object = event.object_ref.unwrap_or_default();
    let path = || event.request_uri.split('?').next().unwrap_or_default();
    let resource = match (object.resource.as_str(), object.subresource.as_str()) {
        ("", _) => path().to_owned(),
        (resource, "") => resource.to_owned(),
        (resource, subresource) => format!("{resource}/{subresource}"),
    };
    Ok(Call {
        user: event.user.username,
        user_agent: event.user_agent,
        verb: event.verb,
        group: object.api_group,
        resource,
        namespace: object.namespace,
        name: object.name,
        code: event.response_status.unwrap_or_default().code,
        asked: event.request_received_timestamp,
        answered: event.stage_timestamp,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"kind":"Event","verb":"patch","requestURI":"/apis/apps/v1/namespaces/a/deployments/web/status?x=1","user":{"username":"operator"},"userAgent":"kube","objectRef":{"resource":"deployments","namespace":"a","name":"web","apiGroup":"apps","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"code":409},"requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z","stageTimestamp":"2026-01-01T00:00:00.001501Z"}"#;
    const VERSION: &str = r#"{"verb":"get","requestURI":"/version?timeout=5s","user":{"username":"admin"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z","stageTimestamp":"2026-01-01T00:00:00.001501Z"}"#;

    fn log(name: &str, content: &str) -> AuditLog {
        let path = std::env::temp_dir().join(format!("{name}-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, content).expect("a log");
        AuditLog::new(path)
    }

    #[test]
    fn an_event_says_who_did_what_to_which_subresource() {
        let call = parse(STATUS).expect("an event");
        assert_eq!(
            (call.user.as_str(), call.verb.as_str()),
            ("operator", "patch")
        );
        assert_eq!(
            (call.group.as_str(), call.resource.as_str()),
            ("apps", "deployments/status")
        );
        assert_eq!((call.name.as_str(), call.code), ("web", 409));
        assert!(call.is_write());
        let took = call.answered.duration_since(call.asked);
        assert_eq!(took.as_micros(), 1500);
    }

    #[test]
    fn a_request_for_no_resource_is_told_by_its_path() {
        let call = parse(VERSION).expect("an event");
        assert_eq!(call.resource, "/version");
        assert!(!call.is_write());
    }

    #[test]
    fn a_line_in_the_making_is_left_for_later_and_a_mark_leaves_out_what_was_before() {
        let log = log("audit", &format!("{STATUS}\n{VERSION}\n{{\"verb\":\"ge"));
        let mark = log.mark().expect("a mark");
        assert_eq!(log.calls().expect("calls").len(), 2);
        assert_eq!(log.calls_since(mark).expect("calls"), []);
        let counts = count(&log.calls().expect("calls"));
        let key = |words: [&str; 3]| {
            let [user, verb, resource] = words.map(str::to_owned);
            (user, verb, resource)
        };
        assert_eq!(counts[&key(["operator", "patch", "deployments/status"])], 1);
        std::fs::remove_file(&log.path).expect("removed");
    }

    #[test]
    fn a_log_that_is_not_there_yet_has_no_calls() {
        let log = AuditLog::new(std::env::temp_dir().join("never-written-audit.log"));
        assert_eq!(log.calls().expect("calls"), []);
    }
}
