//! One chat after the other, with all of Kubernetes' controllers and a kubelet that
//! says at once that a pod is ready.

use anyhow::{Context, Result, ensure};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use crate::calls;
use crate::floor::Floor;
use crate::place::{FEW, Operator, Place};
use crate::readiness::Readiness;
use crate::report::{Report, Times, mebibytes, milliseconds, to_mebibytes};
use crate::stand_in::StandIn;
use crate::usage::{forget_peak, peak, resident};
use crate::wait::{PATIENCE, await_until};
use crate::{Size, floor};

/// What is in each of the unrelated objects.
const UNRELATED_BYTES: usize = 500_000;

pub async fn run(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    place.namespace(FEW).await?;
    starts(place, size, report).await?;
    let floor = bare(place, size, "floor-before").await?;
    let kubelet = StandIn::for_the_kubelet(&place.client);
    let operator = Operator::start(place).await?;
    operator.leads().await?;
    creates(place, size, &operator, &floor, report).await?;
    unrelated(place, size, &operator, report).await?;
    crate::drift::run(place, size, "chat-000", report).await?;
    let operator = handovers(place, size, operator, report).await?;
    removals(place, size, report).await?;
    operator.stop().await?;
    drop(kubelet);
    let again = bare(place, size, "floor-after").await?;
    let (before, after) = (floor.milliseconds(), again.milliseconds());
    report.fact(
        "Floor: the same objects, applied 8 at a time by a bare client",
        format!(
            "{} before, {} after, for {} objects",
            milliseconds(before),
            milliseconds(after),
            floor.objects
        ),
    );
    report.value("floor_ms", json!([before, after]));
    Ok(())
}

async fn bare(place: &Place, size: &Size, namespace: &str) -> Result<Floor> {
    place.namespace(namespace).await?;
    let floor = floor::measure(place, namespace, size.floor, 1).await?;
    remove_namespace(place, size, namespace).await?;
    Ok(floor)
}

async fn remove_namespace(place: &Place, size: &Size, namespace: &str) -> Result<()> {
    let wait = format!("--wait={}", size.tidy);
    let words = ["delete", "namespace", namespace, "--timeout=300s", &wait];
    place.plane.kubectl(&words).await?;
    Ok(())
}

async fn starts(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    let mut times = Times::default();
    for _ in 0..size.starts {
        let operator = Operator::start(place).await?;
        times.push(operator.started, operator.leads().await?);
        operator.stop().await?;
    }
    report.goal(
        "Start of the process → it leads",
        "≤ 500 ms",
        times.to_text(&[50, 100]),
        times.percentile(100) <= 500.0,
    );
    report.value("start_to_leader_ms", times.json());
    Ok(())
}

fn chat(number: usize) -> String {
    format!("chat-{number:03}")
}

async fn creates(
    place: &Place,
    size: &Size,
    operator: &Operator,
    floor: &Floor,
    report: &mut Report,
) -> Result<()> {
    let readiness = Readiness::watch(&place.client);
    // The first one opens connections, and is what the memory of one chat is seen by.
    place.create(FEW, &chat(0)).await?;
    readiness.of(&chat(0), PATIENCE).await?;
    place.silence().await?;
    let rss = resident(operator.pid())?;
    report.goal(
        "Memory with one chat (RSS)",
        "≤ 40 MiB",
        mebibytes(rss),
        to_mebibytes(rss) <= 40.0,
    );
    report.value("rss_one_mib", to_mebibytes(rss));

    let mark = place.plane.audit().mark()?;
    let meter = place.meter(Some(operator)).await?;
    let mut ready = Times::default();
    let mut begun = Vec::new();
    for number in 1..=size.samples {
        let begin = Timestamp::now();
        place.create(FEW, &chat(number)).await?;
        ready.push(begin, readiness.of(&chat(number), PATIENCE).await?);
        begun.push(begin);
    }
    place.silence().await?;
    let used = meter.end()?;
    let made = place.calls(mark)?;

    let (mut first, mut all) = (Times::default(), Times::default());
    let mut children = 0;
    for (number, begin) in (1..).zip(&begun) {
        let chat = chat(number);
        let created = made
            .iter()
            .filter(|call| calls::makes_child_of(call, &chat));
        let times: Vec<Timestamp> = created.map(|call| call.answered).collect();
        children += times.len();
        // What waits for a migration comes when its Job has ended.
        let gated = |at: &Timestamp| *at > calls::first_status(&made, &chat);
        let of_first = times.iter().filter(|at| !gated(at)).max();
        first.push(*begin, *of_first.context("no child")?);
        all.push(*begin, *times.iter().max().context("no child")?);
    }
    let per_chat = |count: usize| count.div_ceil(size.samples.max(1));
    let children = per_chat(children);
    report.goal(
        &format!("Apply → all {children} children"),
        "p95 ≤ 1 s",
        all.to_text(&[50, 95]),
        all.percentile(95) <= 1000.0,
    );
    report.note(
        "Deployments of services with a database are made when their migration has ended, and Kubernetes' \
         own Job controller takes note of ended pods once a second."
            .to_owned(),
    );
    report.fact(
        "… those of the first pass, before the migrations have ended",
        first.to_text(&[50, 95]),
    );
    report.goal(
        "Apply → Ready, pods said to be ready at once",
        "p95 ≤ 2 s",
        ready.to_text(&[50, 95]),
        ready.percentile(95) <= 2000.0,
    );
    let calls = per_chat(made.len());
    report.goal(
        "Calls for one chat, from the audit log",
        "≤ children + 6",
        format!("{calls}: {}", calls::kinds(&made, size.samples)),
        calls <= children + 6,
    );
    let per_chat = |name| used.by(name).as_secs_f64() * 1000.0 / ready.len().max(1) as f64;
    report.fact(
        "CPU for one chat",
        format!(
            "operator {:.0} ms, API server and etcd {:.0} ms (floor: {:.0} ms)",
            per_chat("operator"),
            per_chat("kube-apiserver") + per_chat("etcd"),
            floor.server()
        ),
    );
    report.fact(
        "First pass against the floor",
        format!("{:.1} times", first.percentile(50) / floor.milliseconds()),
    );
    report.value("children", children);
    report.value("apply_to_children_ms", all.json());
    report.value("apply_to_first_pass_ms", first.json());
    report.value("apply_to_ready_ms", ready.json());
    report.value("calls_per_create", calls);
    report.value("calls_by_kind", calls::by_kind(&made));
    report.value("operator_cpu_ms_per_create", per_chat("operator"));
    report.value("foreign_percent_few", used.foreign_percent());
    report.note(format!(
        "While chats were made one by one, other processes of the machine took {:.0} % of it.",
        used.foreign_percent()
    ));
    Ok(())
}

/// Large objects that are nobody's business.
async fn unrelated(
    place: &Place,
    size: &Size,
    operator: &Operator,
    report: &mut Report,
) -> Result<()> {
    place.namespace("unrelated").await?;
    place.silence().await?;
    let before = resident(operator.pid())?;
    forget_peak(operator.pid())?;
    let calls = (0..size.unrelated).map(|number| large(place, number));
    let outcomes: Vec<Result<()>> = futures::stream::iter(calls)
        .buffer_unordered(4)
        .collect()
        .await;
    outcomes.into_iter().collect::<Result<()>>()?;
    place.silence().await?;
    let rise = |now: u64| to_mebibytes(now.saturating_sub(before));
    let (after, peak) = (rise(resident(operator.pid())?), rise(peak(operator.pid())?));
    report.goal(
        &format!(
            "Rise of memory from {} unrelated objects of 500 KB",
            size.unrelated
        ),
        "< 2 MiB",
        format!("{after:.1} MiB, {peak:.1} MiB at the highest"),
        after < 2.0,
    );
    report.value("unrelated_rise_mib", json!([after, peak]));
    remove_namespace(place, size, "unrelated").await
}

/// Makes a large ConfigMap or Secret.
async fn large(place: &Place, number: usize) -> Result<()> {
    let metadata = ObjectMeta {
        name: Some(format!("large-{number}")),
        ..ObjectMeta::default()
    };
    let data = Some([("content".to_owned(), "x".repeat(UNRELATED_BYTES))].into());
    let (client, parameters) = (place.client.clone(), PostParams::default());
    if number.is_multiple_of(2) {
        let map = ConfigMap {
            metadata,
            data,
            ..ConfigMap::default()
        };
        let maps: Api<ConfigMap> = Api::namespaced(client, "unrelated");
        maps.create(&parameters, &map).await?;
    } else {
        let secret = Secret {
            metadata,
            string_data: data,
            ..Secret::default()
        };
        let secrets: Api<Secret> = Api::namespaced(client, "unrelated");
        secrets.create(&parameters, &secret).await?;
    }
    Ok(())
}

/// The time without a leader; gives back the one that leads at the end.
async fn handovers(
    place: &Place,
    size: &Size,
    mut leader: Operator,
    report: &mut Report,
) -> Result<Operator> {
    let (mut told, mut killed) = (Times::default(), Times::default());
    for round in 0..size.handovers + size.kills {
        let standby = Operator::start(place).await?;
        standby.is_ready().await?;
        let begin = Timestamp::now();
        let times = if round < size.handovers {
            leader.stop().await?;
            &mut told
        } else {
            leader.kill().await?;
            &mut killed
        };
        times.push(begin, standby.leads().await?);
        leader = standby;
    }
    report.goal(
        "Handover when the leader is told to stop",
        "≤ 2 s",
        told.to_text(&[50, 100]),
        told.percentile(100) <= 2000.0,
    );
    report.value("handover_told_ms", told.json());
    if size.kills > 0 {
        report.goal(
            "Handover when the leader is killed",
            "≤ 17 s",
            killed.to_text(&[50, 100]),
            killed.percentile(100) <= 17_000.0,
        );
        report.value("handover_killed_ms", killed.json());
    }
    Ok(leader)
}

/// Every kind of object that comes with a chat, those of Kubernetes' controllers too.
const KINDS: [(&str, &str, &str); 15] = [
    ("", "v1", "ServiceAccount"),
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Service"),
    ("apps", "v1", "StatefulSet"),
    ("batch", "v1", "Job"),
    ("apps", "v1", "Deployment"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("apps", "v1", "ReplicaSet"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Pod"),
];

async fn removals(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    let mut times = Times::default();
    for number in 0..=size.samples.min(10) {
        let chat = chat(number);
        let begin = Timestamp::now();
        let chats = place.chats(FEW);
        chats.delete(&chat, &DeleteParams::background()).await?;
        let what = format!("nothing is left of {chat}");
        let end = await_until(&what, PATIENCE, async || {
            let left = left(place, &chat).await?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(Some(Timestamp::now()))
        });
        times.push(begin, end.await?);
    }
    report.goal(
        "Delete → nothing is left, volumes and pods neither",
        "≤ 5 s",
        times.to_text(&[50, 100]),
        times.percentile(100) <= 5000.0,
    );
    report.value("delete_ms", times.json());
    place
        .chats(FEW)
        .delete_collection(&DeleteParams::background(), &ListParams::default())
        .await?;
    await_until("all chats are gone", PATIENCE, async || {
        let left = left(place, "chat-").await?;
        ensure!(left.is_empty(), "{} objects are left", left.len());
        Ok(Some(()))
    })
    .await
}

/// What still has this name in its own.
async fn left(place: &Place, name: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (group, version, kind) in KINDS {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = Api::namespaced_with(place.client.clone(), FEW, &resource);
        let objects = api.list_metadata(&ListParams::default()).await?;
        let names = objects.items.iter().map(ResourceExt::name_any);
        left.extend(
            names
                .filter(|it| it.contains(name))
                .map(|it| format!("{kind} {it}")),
        );
    }
    Ok(left)
}
