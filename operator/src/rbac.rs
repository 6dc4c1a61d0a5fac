//! What the operator may do, from the same table of kinds that it works by.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::crd::GROUP;
use crate::kinds::{BUILT_IN, FOREIGN, Kind};

/// Whose rights.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// Of an operator for the whole cluster.
    #[arg(long)]
    cluster: bool,
    /// In each namespace of an operator for some namespaces.
    #[arg(long)]
    namespaces: bool,
    /// In the namespace that the operator itself runs in.
    #[arg(long)]
    own: bool,
}

/// The rules of one role, as YAML.
///
/// # Errors
/// When they cannot be written as YAML.
pub fn rules(args: &Args) -> Result<String> {
    let rules = if args.cluster {
        cluster()
    } else if args.namespaces {
        namespaced()
    } else {
        own()
    };
    Ok(serde_saphyr::to_string(&rules)?)
}

/// Everywhere.
pub fn cluster() -> Vec<PolicyRule> {
    let mut rules = namespaced();
    let definitions = "customresourcedefinitions";
    rules.push(rule(
        "apiextensions.k8s.io",
        definitions,
        &["list", "watch"],
    ));
    rules
}

/// Leading: there is no name to ask for as long as there is no Lease.
pub fn own() -> Vec<PolicyRule> {
    let lease = "coordination.k8s.io";
    vec![
        rule(lease, "leases", &["create"]),
        PolicyRule {
            resource_names: Some(vec![crate::lease::NAME.to_owned()]),
            ..rule(lease, "leases", &["get", "update"])
        },
    ]
}

/// Everything within one namespace.
pub fn namespaced() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule(GROUP, "chatclusters", &["list", "watch"]),
        rule(GROUP, "chatclusters/status", &["patch"]),
        // Owners may block their own deletion only if who sets them could change them.
        rule(GROUP, "chatclusters/finalizers", &["update"]),
        rule("events.k8s.io", "events", &["create", "patch"]),
        rule("", "persistentvolumeclaims", &["patch"]),
    ];
    rules.extend(BUILT_IN.iter().chain(&FOREIGN).map(child));
    rules
}

/// Apply is `patch`, and `create` where there is nothing yet; `get` is asked for names
/// that somebody else may have taken.
fn child(kind: &Kind) -> PolicyRule {
    let verbs = ["get", "list", "watch", "create", "patch", "delete"];
    rule(kind.group, kind.plural, &verbs)
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().copied().map(str::to_owned).collect(),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<PolicyRule> {
        [cluster(), namespaced(), own()].concat()
    }

    fn words() -> impl Iterator<Item = String> {
        all().into_iter().flat_map(|rule| {
            let groups = rule.api_groups.unwrap_or_default();
            [groups, rule.resources.unwrap_or_default(), rule.verbs].concat()
        })
    }

    #[test]
    fn nothing_is_granted_by_a_star() {
        assert!(words().all(|word| !word.contains('*')));
    }

    #[test]
    fn no_right_leads_to_other_rights() {
        let dangerous = [
            "escalate",
            "bind",
            "impersonate",
            "nodes",
            "pods",
            "exec",
            "token",
            "webhook",
            "roles",
            "namespaces",
        ];
        for word in words() {
            assert!(dangerous.iter().all(|it| !word.contains(it)), "{word}");
        }
    }

    #[test]
    fn an_operator_of_some_namespaces_needs_nothing_that_has_none() {
        let text = format!("{:?}", namespaced());
        assert!(!text.contains("customresourcedefinitions"));
    }

    #[test]
    fn every_kind_that_is_built_can_be_applied() {
        for kind in BUILT_IN.iter().chain(&FOREIGN) {
            let granted = namespaced().into_iter().any(|rule| {
                rule.api_groups.is_some_and(|groups| groups == [kind.group])
                    && rule.resources.is_some_and(|all| all == [kind.plural])
                    && rule.verbs.iter().any(|verb| verb == "patch")
            });
            assert!(granted, "{}", kind.plural);
        }
    }
}
