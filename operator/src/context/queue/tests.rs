use super::*;

fn chat(name: &str) -> ChatRef {
    ChatRef {
        namespace: "n".into(),
        name: name.into(),
    }
}

async fn next(queue: &Queue) -> String {
    queue
        .next()
        .await
        .map_or_else(String::new, |chat| chat.name)
}

fn is_idle(queue: &Queue) -> bool {
    let mut state = queue.lock();
    state.promote(Instant::now());
    state.ready.is_empty()
}

#[tokio::test]
async fn an_edit_overtakes_a_thousand_that_wait_for_their_first_look() {
    let queue = Queue::default();
    for number in 0..1000 {
        queue.add(chat(&number.to_string()), Reason::First);
    }
    queue.add(chat("touched"), Reason::Touched);
    queue.add(chat("edited"), Reason::Edited);
    queue.add(chat("999"), Reason::Edited);
    assert_eq!(next(&queue).await, "edited");
    assert_eq!(next(&queue).await, "touched");
    assert_eq!(next(&queue).await, "999");
    assert_eq!(next(&queue).await, "0");
}

#[tokio::test]
async fn a_crowd_that_was_just_made_holds_up_nothing_that_was_begun() {
    let queue = Queue::default();
    for number in 0..1000 {
        queue.add(chat(&number.to_string()), Reason::Edited);
    }
    for name in ["begun", "as well"] {
        queue.add(chat(name), Reason::Touched);
    }
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.push(next(&queue).await);
    }
    assert_eq!(turns, ["0", "begun", "1", "as well", "2", "3"]);
}

#[tokio::test]
async fn one_that_waits_is_not_queued_twice() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Touched);
    queue.add(chat("a"), Reason::Touched);
    queue.add(chat("a"), Reason::Edited);
    assert_eq!(next(&queue).await, "a");
    assert!(is_idle(&queue));
}

#[tokio::test]
async fn what_happens_during_a_pass_causes_one_more_after_it() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    assert_eq!(next(&queue).await, "a");
    queue.add(chat("a"), Reason::Touched);
    queue.add(chat("a"), Reason::Touched);
    assert!(is_idle(&queue), "it never runs twice at a time");
    queue.done(&chat("a"), Outcome::Done);
    assert_eq!(next(&queue).await, "a");
    queue.done(&chat("a"), Outcome::Done);
    assert!(is_idle(&queue));
}

#[test]
fn pauses_double_up_to_five_minutes() {
    let seconds: Vec<_> = (1..=11).map(|it| retry_after(it).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_waits_longer_each_time_and_holds_up_nobody() {
    let queue = Queue::default();
    queue.add(chat("bad"), Reason::Edited);
    for at_most in [1.1, 2.2, 4.4] {
        assert_eq!(next(&queue).await, "bad");
        queue.done(&chat("bad"), Outcome::Failed);
        assert!(is_idle(&queue));
        queue.add(chat("good"), Reason::Touched);
        assert_eq!(next(&queue).await, "good");
        queue.done(&chat("good"), Outcome::Done);
        let before = Instant::now();
        queue.add(chat("bad"), Reason::Touched);
        assert!(is_idle(&queue), "an event does not undo the back-off");
        assert_eq!(next(&queue).await, "bad");
        assert!(before.elapsed() <= Duration::from_secs_f64(at_most));
        assert!(before.elapsed() >= Duration::from_secs_f64(at_most * 0.8));
        queue.done(&chat("bad"), Outcome::Failed);
        let mut state = queue.lock();
        *state.failures.entry(chat("bad")).or_default() -= 1;
        state.later.clear();
        state.add(chat("bad"), Reason::Touched);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_ends_the_back_off() {
    let queue = Queue::default();
    queue.add(chat("bad"), Reason::Edited);
    next(&queue).await;
    queue.done(&chat("bad"), Outcome::Failed);
    queue.add(chat("bad"), Reason::Edited);
    assert!(!is_idle(&queue));
    assert_eq!(next(&queue).await, "bad");
    queue.done(&chat("bad"), Outcome::Done);
    assert_eq!(queue.failing(), 0);
    assert!(is_idle(&queue));
}

#[tokio::test(start_paused = true)]
async fn a_pass_may_ask_for_a_later_one() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    next(&queue).await;
    let before = Instant::now();
    queue.done(&chat("a"), Outcome::Again(Duration::from_mins(1)));
    assert_eq!(next(&queue).await, "a");
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_reports_is_one_more_look_after_a_rest() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    next(&queue).await;
    queue.done(&chat("a"), Outcome::Done);
    let before = Instant::now();
    for _ in 0..10 {
        queue.add(chat("a"), Reason::Touched);
    }
    assert!(is_idle(&queue));
    assert_eq!(next(&queue).await, "a");
    assert_eq!(before.elapsed(), REST);
    queue.done(&chat("a"), Outcome::Done);
    assert!(is_idle(&queue));
}

#[tokio::test(start_paused = true)]
async fn an_edit_does_not_wait_for_the_end_of_a_rest() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    next(&queue).await;
    queue.add(chat("a"), Reason::Touched);
    queue.done(&chat("a"), Outcome::Done);
    assert!(is_idle(&queue));
    queue.add(chat("a"), Reason::Edited);
    let before = Instant::now();
    assert_eq!(next(&queue).await, "a");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_does_not_rest_besides() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    next(&queue).await;
    queue.done(&chat("a"), Outcome::Done);
    queue.add(chat("a"), Reason::First);
    queue.add(chat("a"), Reason::Touched);
    assert_eq!(next(&queue).await, "a");
    tokio::time::advance(2 * REST).await;
    assert!(is_idle(&queue), "it never runs twice at a time");
}

#[tokio::test]
async fn a_closed_queue_sends_every_worker_home() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    queue.close();
    assert_eq!(queue.next().await, None);
    assert_eq!(queue.next().await, None);
}

#[tokio::test]
async fn one_that_was_removed_is_not_taken() {
    let queue = Queue::default();
    queue.add(chat("a"), Reason::Edited);
    queue.forget(&chat("a"));
    assert!(is_idle(&queue));
}
