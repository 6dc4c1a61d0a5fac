//! Which ChatCluster: what passes and watches call one by.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;

/// Which ChatCluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChatRef {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ChatRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The ChatCluster of a pass, by name and uid.
#[derive(Clone, Debug)]
pub struct Chat {
    pub key: ChatRef,
    pub uid: String,
}

/// A ChatCluster that a newer definition allows, or an older one did.
#[derive(Debug)]
pub struct Undecodable {
    pub reference: ObjectReference,
    pub generation: Option<i64>,
    pub error: String,
}
