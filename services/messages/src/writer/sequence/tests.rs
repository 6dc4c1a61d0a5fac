use chat_events::{
    ClientId, Code, ConversationId, Event, LogEvent, MessageSent, ReadRequested, Recorded, UserId,
};
use proptest::prelude::*;

use super::{Log, Logs, Mark, sequence};

fn logs(conversation: ConversationId, members: [UserId; 2]) -> Logs {
    let mut logs = Logs::default();
    let marks = members.map(|member| (member, Mark::default())).into();
    let mut members = members.to_vec();
    members.sort();
    let log = Log {
        members,
        marks,
        ..Log::default()
    };
    logs.conversations.insert(conversation, log);
    logs
}

fn sent(conversation_id: ConversationId, sender_id: UserId, content: &str) -> Recorded {
    let sent = MessageSent {
        conversation_id,
        sender_id,
        client_id: ClientId::generate(),
        content: content.to_owned(),
    };
    Recorded::new(Event::MessageSent(sent), None)
}

fn read(conversation_id: ConversationId, user_id: UserId, up_to: i64) -> Recorded {
    let read = ReadRequested {
        conversation_id,
        user_id,
        up_to,
    };
    Recorded::new(Event::MessageRead(read), None)
}

fn refusals(answers: &[Recorded]) -> Vec<Code> {
    let code = |answer: &Recorded| match &answer.event {
        Event::MessageRefused(refused) => Some(refused.code),
        _ => None,
    };
    answers.iter().filter_map(code).collect()
}

fn entries(answers: &[Recorded]) -> Vec<LogEvent> {
    let entry = |answer: &Recorded| match &answer.event {
        Event::MessageStored { entry, .. } => Some(entry.clone()),
        _ => None,
    };
    answers.iter().filter_map(entry).collect()
}

fn three() -> (ConversationId, UserId, UserId) {
    (
        ConversationId::generate(),
        UserId::generate(),
        UserId::generate(),
    )
}

#[test]
fn the_same_send_twice_in_a_batch_is_one_message_with_one_answer_twice() {
    let (conversation, anna, ben) = three();
    let send = sent(conversation, anna, "hello");
    let outcome = sequence(&[send.clone(), send], &mut logs(conversation, [anna, ben]));
    assert_eq!(outcome.messages.len(), 1);
    let entries = entries(&outcome.answers);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], entries[1]);
    assert_eq!(outcome.answers[0].id, outcome.answers[1].id);
}

#[test]
fn the_same_client_id_with_other_words_is_a_conflict() {
    let (conversation, anna, ben) = three();
    let first = sent(conversation, anna, "yes");
    let mut second = first.clone();
    if let Event::MessageSent(sent) = &mut second.event {
        sent.content = "no".to_owned();
    }
    let outcome = sequence(&[first, second], &mut logs(conversation, [anna, ben]));
    assert_eq!(outcome.messages.len(), 1);
    assert_eq!(refusals(&outcome.answers), [Code::Conflict]);
}

#[test]
fn strangers_and_bad_texts_are_refused_without_using_up_a_number() {
    let (conversation, anna, ben) = three();
    let long = "x".repeat(4_001);
    let events = [
        sent(conversation, UserId::generate(), "let me in"),
        sent(ConversationId::generate(), anna, "nobody is here"),
        sent(conversation, anna, ""),
        sent(conversation, anna, " \u{200b}\n"),
        sent(conversation, anna, &long),
        sent(conversation, anna, "a\0b"),
        sent(conversation, anna, &long[1..]),
    ];
    let outcome = sequence(&events, &mut logs(conversation, [anna, ben]));
    assert_eq!(
        refusals(&outcome.answers),
        [
            Code::NotFound,
            Code::NotFound,
            Code::Invalid,
            Code::Invalid,
            Code::Invalid,
            Code::Invalid
        ]
    );
    assert_eq!(outcome.counters[&conversation], 1);
}

#[test]
fn a_mark_never_falls_never_passes_the_log_and_is_no_entry_when_it_stays() {
    let (conversation, anna, ben) = three();
    let events = [
        sent(conversation, anna, "one"),
        sent(conversation, anna, "two"),
        read(conversation, ben, 2),
        read(conversation, ben, 1),
        read(conversation, ben, 2),
        read(conversation, ben, -7),
        read(conversation, ben, i64::MAX),
        read(conversation, anna, i64::MAX),
        read(conversation, UserId::generate(), 2),
    ];
    let mut logs = logs(conversation, [anna, ben]);
    let outcome = sequence(&events, &mut logs);
    assert_eq!(outcome.reads.len(), 1);
    assert_eq!((outcome.reads[0].seq, outcome.reads[0].up_to), (3, 2));
    assert_eq!(logs.conversations[&conversation].marks[&ben].up_to, 2);
}

#[test]
fn the_same_read_event_again_gets_its_entry_again() {
    let (conversation, anna, ben) = three();
    let mut logs = logs(conversation, [anna, ben]);
    let events = [sent(conversation, anna, "one"), read(conversation, ben, 1)];
    let first = sequence(&events, &mut logs);
    let again = sequence(&events[1..], &mut logs);
    assert!(again.reads.is_empty());
    assert_eq!(entries(&again.answers), entries(&first.answers[1..]));
}

#[test]
fn an_answer_carries_the_trace_of_its_send() {
    let (conversation, anna, ben) = three();
    let mut send = sent(conversation, anna, "one");
    send.trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let outcome = sequence(
        std::slice::from_ref(&send),
        &mut logs(conversation, [anna, ben]),
    );
    assert_eq!(outcome.answers[0].trace, send.trace);
}

proptest! {
    /// Whatever comes: numbers from 1 without a gap, in the order of arrival,
    /// and one member's marks only rise.
    #[test]
    fn the_log_has_no_gaps_and_no_mark_falls(steps in proptest::collection::vec((0..2_usize, 0..40_i64), 1..60)) {
        let (conversation, anna, ben) = three();
        let people = [anna, ben];
        let mut logs = logs(conversation, people);
        let events: Vec<Recorded> = steps
            .iter()
            .map(|(who, up_to)| match up_to % 2 {
                0 => sent(conversation, people[*who], "text"),
                _ => read(conversation, people[*who], *up_to),
            })
            .collect();
        let outcome = sequence(&events, &mut logs);
        let seqs: Vec<i64> = entries(&outcome.answers).iter().map(|entry| entry.seq()).collect();
        prop_assert_eq!(&seqs, &(1..=seqs.len() as i64).collect::<Vec<_>>());
        for person in people {
            let marks: Vec<i64> = outcome
                .reads
                .iter()
                .filter(|read| read.user_id == person)
                .map(|read| read.up_to)
                .collect();
            prop_assert!(marks.is_sorted());
            prop_assert!(outcome.reads.iter().all(|read| read.up_to < read.seq));
        }
    }
}
