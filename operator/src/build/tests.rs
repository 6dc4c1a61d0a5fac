use std::collections::BTreeMap;

use chat_events::Service;
use chat_events::routes::ROUTES;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use super::{build, migration};
use crate::crd::ChatCluster;
use crate::render::offline;
use crate::resources::Resources;
use crate::validate::{Defaults, Validated};

fn defaults() -> Defaults {
    Defaults {
        version: "1.0.0".into(),
        images: "chatcluster".into(),
        postgres_image: "postgres:17".into(),
        rabbitmq_image: "rabbitmq:4.1".into(),
        redis_image: "redis:7.4".into(),
        allowed_registries: Vec::new(),
    }
}

fn validated(mut spec: Value) -> Validated {
    spec["host"] = "chat.example.com".into();
    let chat = ChatCluster::new("demo", serde_json::from_value(spec).expect("a spec"));
    offline(&chat, BTreeMap::new(), &defaults()).expect("valid")
}

fn built(spec: Value) -> Resources {
    build(&validated(spec))
}

fn template(resources: &Resources, name: &str) -> PodTemplateSpec {
    let found = resources
        .deployments
        .iter()
        .find(|it| it.metadata.name.as_deref() == Some(name));
    let spec = found.and_then(|it| it.spec.clone()).expect("a Deployment");
    spec.template
}

fn content(resources: &Resources, name: &str) -> String {
    let annotations = template(resources, name)
        .metadata
        .expect("metadata")
        .annotations;
    annotations.expect("annotations")["chatcluster.io/content"].clone()
}

#[test]
fn with_an_autoscaler_no_replicas_are_written() {
    let scaling = json!({"type": "Hpa", "min": 2, "max": 4});
    let resources = built(json!({"services": {"users": {"autoscaling": scaling}}}));
    for deployment in &resources.deployments {
        let name = deployment.metadata.name.as_deref();
        let replicas = deployment.spec.as_ref().and_then(|it| it.replicas);
        assert_eq!(replicas.is_none(), name == Some("demo-users"), "{name:?}");
    }
    assert_eq!(resources.autoscalers.len(), 1);
}

#[test]
fn a_budget_is_there_from_two_pods_on() {
    let budgets = |spec| built(spec).pod_disruption_budgets.len();
    assert_eq!(budgets(json!({})), 0);
    assert_eq!(budgets(json!({"size": "medium"})), 6);
    assert_eq!(budgets(json!({"size": "medium", "stopped": true})), 0);
    assert_eq!(budgets(json!({"services": {"web": {"replicas": 2}}})), 1);
}

#[test]
fn pods_are_spread_unless_the_spec_says_otherwise() {
    let spread = |spec| {
        let pod = template(&built(spec), "demo-web").spec.expect("a pod");
        pod.topology_spread_constraints.map_or(0, |it| it.len())
    };
    assert_eq!(spread(json!({"size": "large"})), 2);
    let off = json!({"size": "large", "scheduling": {"topologySpread": "Disabled"}});
    assert_eq!(spread(off), 0);
}

#[test]
fn another_number_of_pods_replaces_none() {
    let of = |count: u32| {
        let all = built(json!({"services": {"web": {"replicas": count}}}));
        template(&all, "demo-web")
    };
    assert_eq!(of(1), of(3));
}

#[test]
fn pods_are_spread_as_an_override_says() {
    let own = json!([{
        "maxSkew": 2, "topologyKey": "example.com/rack", "whenUnsatisfiable": "DoNotSchedule",
    }]);
    let web = |overrides| json!({"services": {"web": {"replicas": 2, "podOverrides": overrides}}});
    let spread = |spec| {
        let pod = template(&built(spec), "demo-web").spec.expect("a pod");
        json!(pod.topology_spread_constraints)
    };
    let constraints = |all: &Value| json!({"spec": {"topologySpreadConstraints": all}});
    assert_eq!(spread(web(constraints(&own))), own);
    assert_eq!(spread(web(constraints(&json!([])))), json!([]));
}

#[test]
fn a_deployment_waits_for_the_migration_of_its_database() {
    let mut chat = validated(json!({}));
    chat.migrated.retain(|it| *it != Service::Messages);
    let resources = build(&chat);
    assert_eq!(resources.held, ["demo-messages"]);
    assert_eq!(resources.deployments.len(), 5);
    assert_eq!(resources.jobs.len(), 4);
}

#[test]
fn what_is_stopped_runs_nothing_and_waits_for_nothing() {
    let mut chat = validated(json!({"stopped": true}));
    chat.migrated.clear();
    let resources = build(&chat);
    assert_eq!((resources.held.len(), resources.jobs.len()), (0, 0));
    for deployment in &resources.deployments {
        assert_eq!(deployment.spec.as_ref().and_then(|it| it.replicas), Some(0));
    }
    for set in &resources.stateful_sets {
        assert_eq!(set.spec.as_ref().and_then(|it| it.replicas), Some(0));
    }
}

#[test]
fn the_name_of_a_migration_fits_and_tells_chats_apart() {
    let named = |name: &str| {
        let mut chat = validated(json!({}));
        chat.name = name.into();
        migration::name(&chat, Service::Notifications)
    };
    let (one, other) = ("a".repeat(39) + "b", "a".repeat(39) + "c");
    assert_eq!(named(&one).len(), 63);
    assert_ne!(named(&one), named(&other));
}

#[test]
fn only_the_pods_that_read_a_setting_roll_when_it_changes() {
    let before = built(json!({}));
    let after = built(json!({"services": {"users": {"logLevel": "debug"}}}));
    for name in ["demo-auth", "demo-messages", "demo-web"] {
        assert_eq!(content(&before, name), content(&after, name), "{name}");
    }
    assert_ne!(
        content(&before, "demo-users"),
        content(&after, "demo-users")
    );
}

#[test]
fn a_changed_password_rolls_its_service_alone() {
    let mut chat = validated(json!({}));
    let before = build(&chat);
    chat.credentials
        .services
        .insert("users".into(), "another".into());
    let after = build(&chat);
    assert_ne!(
        content(&before, "demo-users"),
        content(&after, "demo-users")
    );
    assert_eq!(content(&before, "demo-auth"), content(&after, "demo-auth"));
}

#[test]
fn overrides_add_and_take_nothing_away() {
    let overrides = json!({
        "metadata": {"labels": {"team": "chat"}, "annotations": {"note": "x"}},
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "own", "operator": "Exists"}],
            "priorityClassName": "high",
            "terminationGracePeriodSeconds": 300,
        },
    });
    let resources = built(json!({
        "services": {"web": {"podOverrides": overrides}},
        "scheduling": {"nodeSelector": {"os": "linux"}, "tolerations": [{"key": "all", "operator": "Exists"}]},
    }));
    let template = template(&resources, "demo-web");
    let metadata = template.metadata.expect("metadata");
    let labels = metadata.labels.expect("labels");
    assert_eq!(
        (
            labels["team"].as_str(),
            labels["app.kubernetes.io/component"].as_str()
        ),
        ("chat", "web")
    );
    assert_eq!(metadata.annotations.expect("annotations").len(), 2);
    let pod = template.spec.expect("a pod");
    assert_eq!(pod.node_selector.expect("nodes").len(), 2);
    assert_eq!(pod.tolerations.expect("tolerations").len(), 2);
    assert_eq!(pod.priority_class_name.as_deref(), Some("high"));
    assert_eq!(pod.termination_grace_period_seconds, Some(300));
    assert_eq!(
        pod.security_context.and_then(|it| it.run_as_non_root),
        Some(true)
    );
}

#[test]
fn sockets_have_time_to_close_before_their_pod_is_killed() {
    let resources = built(json!({"services": {"socketHandler": {"drainSeconds": 120}}}));
    let grace = |name: &str| {
        let pod = template(&resources, name).spec.expect("a pod");
        pod.termination_grace_period_seconds.expect("seconds")
    };
    assert_eq!(grace("demo-socket-handler"), 5 + 120 + 10);
    assert_eq!(grace("demo-auth"), 40);
}

#[test]
fn every_public_path_leads_to_a_service_of_the_chat() {
    let resources = built(json!({}));
    let rules = resources.ingresses[0]
        .spec
        .as_ref()
        .and_then(|it| it.rules.clone());
    let http = rules.and_then(|it| it[0].http.clone()).expect("paths");
    assert_eq!(http.paths.len(), ROUTES.len());
    for path in http.paths {
        let service = path.backend.service.expect("a Service");
        let found = resources
            .services
            .iter()
            .any(|it| it.metadata.name.as_ref() == Some(&service.name));
        assert!(found, "{}", service.name);
    }
}

#[test]
fn a_route_never_ends_a_socket() {
    let resources = built(json!({"exposure": {
        "type": "Gateway", "gateway": {"parentRefs": [{"name": "public"}]},
    }}));
    assert_eq!(resources.ingresses.len(), 0);
    let route = resources.foreign.iter().find(|it| {
        it.types
            .as_ref()
            .is_some_and(|types| types.kind == "HTTPRoute")
    });
    let rules = route.expect("an HTTPRoute").data["spec"]["rules"].clone();
    for rule in rules.as_array().expect("rules") {
        let path = rule["matches"][0]["path"]["value"]
            .as_str()
            .expect("a path");
        let endless = rule["timeouts"]["request"] == "0s";
        assert_eq!(endless, path.starts_with("/ws"), "{path}");
    }
}

#[test]
fn no_secret_of_somebody_else_reaches_a_config_map() {
    let secret = [
        ("host", "secret-host:1"),
        ("username", "secret-user"),
        ("password", "secret-password"),
        ("vhost", "secret-vhost"),
    ]
    .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let secrets: BTreeMap<_, BTreeMap<_, _>> = [("s".to_owned(), secret.into())].into();
    let external = json!({"mode": "External", "external": {"secretRef": {"name": "s"}}});
    let spec = json!({
        "host": "chat.example.com", "postgres": external, "rabbitmq": external, "redis": external,
    });
    let chat = ChatCluster::new("demo", serde_json::from_value(spec).expect("a spec"));
    let resources = build(&offline(&chat, secrets, &defaults()).expect("valid"));
    let text = crate::render::print(resources).expect("YAML");
    assert!(!text.contains("secret-"), "{text}");
}

#[test]
fn names_and_selectors_do_not_depend_on_the_version() {
    let identity = |spec| {
        let resources = built(spec);
        let all: Vec<_> = resources
            .deployments
            .iter()
            .map(|it| {
                (
                    it.metadata.name.clone(),
                    json!(it.spec.as_ref().map(|spec| &spec.selector)),
                )
            })
            .collect();
        all
    };
    assert_eq!(
        identity(json!({})),
        identity(json!({"version": "9.9.9", "size": "large"}))
    );
}
