use serde_json::{Value, json};

use super::*;
use crate::kinds::{CONFIG_MAP, DEPLOYMENT};

static MAP: Kind = CONFIG_MAP;
static WORKLOAD: Kind = DEPLOYMENT;

fn object(version: u64, change: &Value) -> DynamicObject {
    let mut object = json!({
        "metadata": {
            "name": "demo-web", "namespace": "n", "uid": "u", "generation": 1,
            "resourceVersion": version.to_string(),
            "labels": {MANAGED_BY.0: MANAGED_BY.1, INSTANCE: "demo"},
        }
    });
    for (pointer, value) in change.as_object().into_iter().flatten() {
        let (parent, field) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(parent) = object.pointer_mut(parent) {
            parent[field] = value.clone();
        }
    }
    serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}"))
}

fn demo() -> ChatRef {
    ChatRef {
        namespace: "n".into(),
        name: "demo".into(),
    }
}

fn holds(children: &Children, kind: &Kind) -> Option<u64> {
    children.of(&demo())[&(kind.name, "demo-web".to_owned())].holds
}

#[test]
fn what_was_verified_stays_so_until_the_object_changes() {
    let children = Children::default();
    children.verify(&MAP, &object(5, &json!({})), 77);
    assert_eq!(children.see(&MAP, &object(5, &json!({}))), None);
    assert_eq!(holds(&children, &MAP), Some(77));
    assert_eq!(children.see(&MAP, &object(6, &json!({}))), Some(demo()));
    assert_eq!(holds(&children, &MAP), None);
}

#[test]
fn a_status_is_news_but_no_change_of_what_we_set() {
    let children = Children::default();
    children.verify(&WORKLOAD, &object(5, &json!({})), 77);
    let ready = object(6, &json!({"/status": {"readyReplicas": 1}}));
    assert_eq!(children.see(&WORKLOAD, &ready), Some(demo()));
    assert_eq!(holds(&children, &WORKLOAD), Some(77));
}

#[test]
fn the_time_of_a_condition_is_no_news() {
    let children = Children::default();
    let at = |version, time: &str| {
        object(
            version,
            &json!({"/status": {"conditions": [{"type": "Available", "status": "True", "lastUpdateTime": time}]}}),
        )
    };
    children.see(&WORKLOAD, &at(5, "1"));
    assert_eq!(children.see(&WORKLOAD, &at(6, "2")), None);
}

#[test]
fn a_changed_label_or_generation_is_a_change() {
    for change in [
        json!({"/metadata/labels": {MANAGED_BY.0: MANAGED_BY.1, INSTANCE: "demo", "x": "y"}}),
        json!({"/metadata/generation": 2}),
        json!({"/metadata/ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}]}),
    ] {
        let children = Children::default();
        children.verify(&WORKLOAD, &object(5, &json!({})), 77);
        assert_eq!(children.see(&WORKLOAD, &object(6, &change)), Some(demo()));
        assert_eq!(holds(&children, &WORKLOAD), None);
    }
}

#[test]
fn an_event_older_than_what_is_known_says_nothing() {
    let children = Children::default();
    children.verify(&MAP, &object(9, &json!({})), 77);
    assert_eq!(children.see(&MAP, &object(8, &json!({}))), None);
    assert_eq!(holds(&children, &MAP), Some(77));
}

#[test]
fn the_end_of_a_former_object_does_not_remove_the_new_one() {
    let children = Children::default();
    children.see(&MAP, &object(5, &json!({})));
    let former = object(4, &json!({"/metadata/uid": "former"}));
    assert_eq!(children.forget(&MAP, &former.metadata), None);
    assert_eq!(
        children.forget(&MAP, &object(5, &json!({})).metadata),
        Some(demo())
    );
    assert!(children.of(&demo()).is_empty());
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let children = Children::default();
    children.see(&MAP, &object(5, &json!({})));
    children.see(&WORKLOAD, &object(5, &json!({})));
    let epoch = children.begin_of_list();
    assert_eq!(children.end_of_list(&MAP, Some("other"), epoch), []);
    assert_eq!(children.end_of_list(&MAP, None, epoch), [demo()]);
    let left: Vec<_> = children.of(&demo()).into_keys().collect();
    assert_eq!(left, [("Deployment", "demo-web".to_owned())]);
}

#[test]
fn objects_without_our_labels_are_not_kept() {
    let children = Children::default();
    let strange = object(5, &json!({"/metadata/labels": {INSTANCE: "demo"}}));
    assert_eq!(children.see(&MAP, &strange), None);
    assert!(children.of(&demo()).is_empty());
}

#[test]
fn an_object_that_loses_our_labels_is_lost() {
    let children = Children::default();
    children.see(&MAP, &object(5, &json!({})));
    let bare = object(6, &json!({"/metadata/labels": {}}));
    assert_eq!(children.see(&MAP, &bare), Some(demo()));
    assert!(children.of(&demo()).is_empty());
}

#[test]
fn an_owner_is_the_controller_that_is_a_chat_cluster() {
    let owned = |api: &str, kind: &str, controller: bool| {
        let reference = json!([{"apiVersion": api, "kind": kind, "name": "demo", "uid": "c", "controller": controller}]);
        owner_of(&object(1, &json!({"/metadata/ownerReferences": reference})).metadata)
    };
    assert_eq!(
        owned("chatcluster.io/v1alpha1", "ChatCluster", true),
        Owner::Chat("c".into())
    );
    assert_eq!(
        owned("chatcluster.io/v1alpha1", "ChatCluster", false),
        Owner::Other
    );
    assert_eq!(owned("example.com/v1", "ChatCluster", true), Owner::Other);
    let kept = object(1, &json!({"/metadata/annotations": {OWNER_UID: "c"}}));
    assert_eq!(owner_of(&kept.metadata), Owner::Kept);
}

#[test]
fn an_object_whose_owner_is_taken_away_is_remembered_as_that_owners() {
    let owner = |kind: &str| json!({"/metadata/ownerReferences": [{"apiVersion": "chatcluster.io/v1alpha1", "kind": kind, "name": "demo", "uid": "c", "controller": true}]});
    let of = |children: &Children| {
        let all = children.of(&demo());
        all[&(WORKLOAD.name, "demo-web".to_owned())].owner.clone()
    };
    let children = Children::default();
    children.verify(&WORKLOAD, &object(5, &owner("ChatCluster")), 77);
    assert_eq!(
        children.see(&WORKLOAD, &object(6, &json!({}))),
        Some(demo())
    );
    assert_eq!(of(&children), Owner::Lost("c".into()));
    assert_eq!(holds(&children, &WORKLOAD), None);
    // Another object of that name never had this owner, nor one that was given away.
    let another = object(7, &json!({"/metadata/uid": "another"}));
    children.see(&WORKLOAD, &another);
    assert_eq!(of(&children), Owner::Other);
    let children = Children::default();
    children.see(&WORKLOAD, &object(5, &owner("ChatCluster")));
    children.see(&WORKLOAD, &object(6, &owner("Another")));
    assert_eq!(of(&children), Owner::Other);
}
