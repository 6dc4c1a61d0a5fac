//! A thousand chats. Kubernetes' own controllers are off, and a stand-in says that
//! Deployments, StatefulSets and Jobs have what they want: 13 statuses for each chat.

use std::time::Duration;

use anyhow::{Context, Result};

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::place::{Operator, Place};
use crate::readiness::Readiness;
use crate::report::{Report, Times, mebibytes, milliseconds, to_mebibytes};
use crate::stand_in::StandIn;
use crate::usage::{cores, resident};
use crate::wait::{PATIENCE, await_until};
use crate::{Size, calls, floor};

/// ChatClusters that are created at the same time.
const AT_ONCE: usize = 16;
/// How long they may take before the rest is measured without them.
const TOGETHER: Duration = Duration::from_mins(15);
/// How many namespaces they are spread over.
const NAMESPACES: usize = 20;
/// Sets of objects on their way at the same time, as many as the operator has workers.
const WORKERS: usize = 4;
/// As the operator names them.
const QUEUE_WAIT: &str = "chat_operator_queue_wait_seconds";
const PASSES: &str = "chat_operator_pass_seconds_count";
const WAITING: &str = "chat_operator_queue_depth";

pub async fn run(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    for number in 0..NAMESPACES.min(size.chats) {
        place.namespace(&namespace(number)).await?;
    }
    for name in ["floor-many-before", "floor-many-after"] {
        place.namespace(name).await?;
    }
    let controllers = &place.plane.controller_manager;
    controllers
        .as_ref()
        .context("no controllers")?
        .stop()
        .await?;
    let sets = size.floor * 2;
    let before = floor::measure(place, "floor-many-before", sets, WORKERS).await?;
    let operator = Operator::start(place).await?;
    operator.leads().await?;
    place.silence().await?;
    let stand_in = StandIn::for_the_controllers(&place.client);
    let took = together(place, size, &operator, report).await?;
    memory(place, size, &operator, report).await?;
    idle(place, size, &operator, report).await?;
    edits(place, size, report).await?;
    restart(place, size, operator, report).await?;
    drop(stand_in);
    let after = floor::measure(place, "floor-many-after", sets, WORKERS).await?;
    let one = took * 1000.0 / f64::from(u32::try_from(size.chats)?);
    report.fact(
        "Floor: the same objects, applied 32 at a time by a bare client",
        format!(
            "{} for a chat before, {} after (API server and etcd: {:.0} and {:.0} ms of CPU): until all are Ready, the operator takes {:.1} and {:.1} times that",
            milliseconds(before.milliseconds()),
            milliseconds(after.milliseconds()),
            before.server(),
            after.server(),
            one / before.milliseconds(),
            one / after.milliseconds()
        ),
    );
    let floors = [before.milliseconds(), after.milliseconds()];
    report.value("floor_many_ms", json!(floors));
    Ok(())
}

fn namespace(number: usize) -> String {
    format!("many-{:02}", number % NAMESPACES)
}

fn chat(number: usize) -> String {
    format!("chat-{number:04}")
}

/// How many were ready in the time that a run has for it, and since when the last.
async fn wait_for_all(readiness: &Readiness, chats: usize) -> (usize, Option<Timestamp>) {
    let all = await_until("all chats are ready", TOGETHER, async || {
        let all = readiness.all();
        Ok((all.0 == chats).then_some(all))
    });
    all.await.unwrap_or_else(|_| readiness.all())
}

/// Creates all of them; returns the seconds until the last is ready.
async fn together(
    place: &Place,
    size: &Size,
    operator: &Operator,
    report: &mut Report,
) -> Result<f64> {
    let readiness = Readiness::watch(&place.client);
    let mark = place.plane.audit().mark()?;
    let meter = place.meter(Some(operator)).await?;
    let begin = Timestamp::now();
    let creates = (0..size.chats)
        .map(|number| async move { place.create(&namespace(number), &chat(number)).await });
    let creates = futures::stream::iter(creates).buffer_unordered(AT_ONCE);
    let outcomes: Vec<Result<()>> = creates.collect().await;
    outcomes.into_iter().collect::<Result<()>>()?;
    let created = Timestamp::now().duration_since(begin).as_secs_f64();
    let (count, last) = wait_for_all(&readiness, size.chats).await;
    let took = last.unwrap_or(begin).duration_since(begin).as_secs_f64();
    let used = meter.end()?;
    place.silence().await?;

    let made = place.calls(mark)?;
    let errors = calls::errors(&made);
    let failed = operator.metric(PASSES, "result=\"failed\"").await?;
    let wait = operator.quantile(QUEUE_WAIT, 99.0).await?;
    report.goal(
        &format!("{} chats created together → all Ready", size.chats),
        "≤ 180 s, no error",
        format!("{count} in {took:.1} s (created within {created:.1} s), {errors} errors of calls, {failed:.0} failed passes"),
        size.judge(count == size.chats && took <= 180.0 && errors == 0 && failed == 0.0),
    );
    report.fact(
        "… how long one waited for its turn",
        format!("p99 ≤ {wait:.0} s"),
    );
    report.fact("… calls for each", calls::kinds(&made, size.chats));
    let machine = used.wall.as_secs_f64() * cores();
    let server = used.by("kube-apiserver").as_secs_f64();
    report.fact(
        "… CPU",
        format!(
            "{} (the API server: {:.0} % of the machine)",
            used.to_text(),
            100.0 * server / machine
        ),
    );
    report.note(format!(
        "While {} chats were made, other processes of the machine took {:.0} % of it.",
        size.chats,
        used.foreign_percent()
    ));
    report.value("together_ready", count);
    report.value("together_s", took);
    report.value("together_errors", errors);
    report.value("together_failed_passes", failed);
    report.value("together_queue_wait_p99_s", wait);
    report.value("together_calls_by_kind", calls::by_kind(&made));
    report.value("together_operator_cpu_s", used.by("operator").as_secs_f64());
    report.value("together_api_server_cpu_s", server);
    report.value("foreign_percent_many", used.foreign_percent());
    Ok(took)
}

async fn memory(
    place: &Place,
    size: &Size,
    operator: &Operator,
    report: &mut Report,
) -> Result<()> {
    place.silence().await?;
    let rss = resident(operator.pid())?;
    report.goal(
        "Memory with all of them (RSS)",
        "≤ 150 MiB",
        mebibytes(rss),
        size.judge(to_mebibytes(rss) <= 150.0),
    );
    report.value("rss_many_mib", to_mebibytes(rss));
    Ok(())
}

async fn idle(place: &Place, size: &Size, operator: &Operator, report: &mut Report) -> Result<()> {
    let mark = place.plane.audit().mark()?;
    let meter = place.meter(Some(operator)).await?;
    tokio::time::sleep(size.idle).await;
    let used = meter.end()?;
    let made = place.calls(mark)?;
    let writes = made.iter().filter(|call| call.is_write()).count();
    let reads = made.len() - writes;
    report.goal(
        &format!("With nothing to do, {} s", size.idle.as_secs()),
        "0 writes, 0 GET or LIST",
        format!("{writes} writes, {reads} GET or LIST; Lease and watches only"),
        size.judge(made.is_empty()),
    );
    let share = 100.0 * used.by("operator").as_secs_f64() / used.wall.as_secs_f64();
    report.goal(
        "… CPU of the operator",
        "≤ 0.2 % of a core",
        format!("{share:.2} %"),
        size.judge(share <= 0.2),
    );
    report.value("idle_writes", writes);
    report.value("idle_reads", reads);
    report.value("idle_cpu_percent", share);
    Ok(())
}

async fn edits(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    let mark = place.plane.audit().mark()?;
    let mut edited = Vec::new();
    for round in 0..size.edits {
        // Another one each time, all over the list.
        let number = round * 37 % size.chats;
        let patch = Patch::Merge(json!({"spec": {"services": {"auth": {"replicas": 2}}}}));
        let (chats, name) = (place.chats(&namespace(number)), chat(number));
        edited.push((name.clone(), Timestamp::now()));
        chats.patch(&name, &PatchParams::default(), &patch).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    place.silence().await?;
    let made = place.calls(mark)?;
    let mut times = Times::default();
    for (name, at) in &edited {
        let mut writes = made
            .iter()
            .filter(|call| calls::writes_child_of(call, name) && call.answered > *at);
        let first = writes
            .next()
            .with_context(|| format!("{name} was not changed"))?;
        times.push(*at, first.answered);
    }
    report.goal(
        "One of them is edited → first write of a child",
        "p99 ≤ 500 ms",
        times.to_text(&[50, 99]),
        size.judge(times.percentile(99) <= 500.0),
    );
    report.value("edit_to_first_write_ms", times.json());
    Ok(())
}

async fn restart(
    place: &Place,
    size: &Size,
    operator: Operator,
    report: &mut Report,
) -> Result<()> {
    operator.stop().await?;
    let mark = place.plane.audit().mark()?;
    let operator = Operator::start(place).await?;
    let meter = place.meter(Some(&operator)).await?;
    let leads = operator.leads().await?;
    let chats = f64::from(u32::try_from(size.chats)?);
    let synced = await_until("every chat was looked at", PATIENCE, async || {
        let passes = operator.metric(PASSES, "").await?;
        let waiting = operator.metric(WAITING, "").await?;
        Ok((passes >= chats && waiting == 0.0).then(Timestamp::now))
    })
    .await?;
    let used = meter.end()?;
    place.silence().await?;
    let made = place.calls(mark)?;
    let writes = made.iter().filter(|call| call.is_write()).count();
    let seconds = |to: Timestamp| to.duration_since(operator.started).as_secs_f64();
    let rss = resident(operator.pid())?;
    report.goal(
        &format!("Restart with {} unchanged chats", size.chats),
        "0 writes, synced ≤ 30 s",
        format!(
            "{writes} writes, leads after {:.1} s, has looked at all after {:.1} s, {:.1} s of CPU",
            seconds(leads),
            seconds(synced),
            used.by("operator").as_secs_f64()
        ),
        size.judge(writes == 0 && seconds(synced) <= 30.0),
    );
    report.goal(
        "… memory then (RSS)",
        "≤ 150 MiB",
        mebibytes(rss),
        size.judge(to_mebibytes(rss) <= 150.0),
    );
    report.value("restart_writes", writes);
    report.value("restart_calls_by_kind", calls::by_kind(&made));
    report.value("restart_leads_s", seconds(leads));
    report.value("restart_synced_s", seconds(synced));
    report.value("rss_restarted_mib", to_mebibytes(rss));
    operator.stop().await
}
