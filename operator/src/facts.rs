//! What the cluster says about everything that a ChatCluster refers to.
//! `dereference` reads it; `validate` and `build` see nothing else.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::crd::MigrationResult;
use crate::credentials::Credentials;

/// A snapshot, taken at the begin of a pass.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Secrets that the spec names, or that exist under the names which it implies
    /// (`jwt-secret`); one that is not there is not in the map.
    pub secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The passwords and keys that we made: read from our Secrets, or new.
    pub credentials: Credentials,
    /// Which kinds of other operators the cluster knows.
    pub apis: BTreeSet<Api>,
    /// Migration Jobs that ended, by the name of the Job.
    pub migrations: BTreeMap<String, MigrationResult>,
    /// Objects that are delegated to another operator, by store.
    pub delegated: BTreeMap<&'static str, Delegated>,
}

/// A kind that only some clusters have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    CloudNativePg,
    RabbitmqCluster,
    Keda,
    HttpRoute,
    CertManager,
    ServiceMonitor,
}

/// What another operator says of an object that we gave to it.
#[derive(Clone, Debug, Default)]
pub struct Delegated {
    pub ready: bool,
    pub message: String,
    /// The Secret with which its owner logs in, once it is there.
    pub secret: Option<BTreeMap<String, Vec<u8>>>,
    pub conditions: Vec<Condition>,
}
