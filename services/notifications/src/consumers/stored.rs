//! NOTIFICATIONS_SRV_MessageSentQueue: a stored message makes a notice for all its
//! members but the sender; a stored read moves the reader's mark.

mod write;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chat_events::{
    ConversationId, Event, LogEvent, MessageId, MessageView, NoticeFor, NoticeView, Noticed,
    Recorded, UserId,
};
use chat_kit::broker::HandleError;
use chat_kit::planted::{self, Bug};
use tokio::time::timeout;
use uuid::Uuid;

use crate::audience;
use crate::state::AppState;

const PREVIEW_CHARS: usize = 120;
/// Notices, and receivers of them, in one event.
const NOTICES: usize = 64;
const RECEIVERS: usize = 4_096;
/// Longer without a confirm, and the batch is done again.
const CONFIRM: Duration = Duration::from_secs(10);

/// What a batch asks for. Its order does not matter to the tables: whether a notice is
/// read depends on the numbers of message and read alone.
#[derive(Default)]
struct Batch<'a> {
    /// In the order of the events, each message once.
    messages: Vec<Message<'a>>,
    marks: BTreeMap<(UserId, ConversationId), i64>,
}

struct Message<'a> {
    /// Of the notice, if it is a new one.
    id: Uuid,
    message_id: MessageId,
    audience: Uuid,
    members: &'a [UserId],
    view: &'a MessageView,
    trace: Option<&'a str>,
}

impl<'a> Batch<'a> {
    fn of(events: &'a [Recorded]) -> Self {
        let mut batch = Self::default();
        let mut seen = HashSet::new();
        for recorded in events {
            let Event::MessageStored { members, entry } = &recorded.event else {
                continue;
            };
            match entry {
                LogEvent::Message { message, .. } => {
                    let alone = members.iter().all(|member| *member == message.sender_id);
                    if alone || !seen.insert(message.id) {
                        continue;
                    }
                    batch.messages.push(Message {
                        id: Uuid::now_v7(),
                        message_id: match planted::bug(Bug::NoticeTwice) {
                            true => MessageId::generate(),
                            false => message.id,
                        },
                        audience: audience::id(message.conversation_id, members),
                        members,
                        view: message,
                        trace: recorded.trace.as_deref(),
                    });
                }
                LogEvent::Read {
                    conversation_id,
                    user_id,
                    up_to,
                    ..
                } => {
                    let mark = batch.marks.entry((*user_id, *conversation_id)).or_default();
                    *mark = (*mark).max(*up_to);
                }
            }
        }
        batch
    }
}

/// One transaction for the whole batch, and then one event for the pods. What was done
/// before is not done again; when the event got lost, the pods find a gap in the places.
pub async fn handle(state: &AppState, events: &[Recorded]) -> Result<(), HandleError> {
    let batch = Batch::of(events);
    if batch.messages.is_empty() && batch.marks.is_empty() {
        return Ok(());
    }
    let mut transaction = state.database.begin().await?;
    let places = (batch.messages.len() + batch.marks.len()) as i64;
    let up_to = write::take_places(&mut transaction, places).await?;
    let readers = write::marks(&mut transaction, &batch.marks).await?;
    let new = write::audiences(&mut transaction, &state.audiences, &batch.messages).await?;
    let known = write::known_of(&mut transaction, &batch.messages).await?;
    let created = write::notices(&mut transaction, &batch.messages).await?;
    transaction.commit().await?;
    state.audiences.note(new);
    let notices = batch
        .messages
        .iter()
        .zip(known)
        .filter(|(message, _)| created.contains(&message.id))
        .map(|(message, known)| message.notice(known))
        .collect();
    let told = in_events(up_to - places, up_to, notices, readers);
    let trace = batch.messages.iter().find_map(|message| message.trace);
    let told = told
        .into_iter()
        .map(|noticed| Recorded::new(Event::Noticed(noticed), trace.map(str::to_owned)))
        .collect();
    match timeout(CONFIRM, state.publisher.publish_all(told)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(HandleError::Unavailable(error.into())),
        Err(_) => Err(HandleError::Unavailable(anyhow::anyhow!(
            "the notices were not confirmed within {CONFIRM:?}"
        ))),
    }
}

/// What the tables know beside a message.
struct Known {
    sender_username: String,
    /// Who has read the message before it came.
    read_by: Vec<Uuid>,
}

impl Message<'_> {
    fn notice(&self, known: Known) -> NoticeFor {
        let view = self.view;
        let is_unread_to =
            |user: &UserId| *user != view.sender_id && !known.read_by.contains(&user.0);
        NoticeFor {
            receivers: self.members.iter().copied().filter(is_unread_to).collect(),
            notice: NoticeView {
                id: self.id,
                conversation_id: view.conversation_id,
                message_id: self.message_id,
                seq: view.seq,
                sender_id: view.sender_id,
                sender_username: known.sender_username,
                preview: preview(view),
                created_at: view.created_at,
                read_at: None,
            },
        }
    }
}

fn preview(message: &MessageView) -> String {
    message.content.chars().take(PREVIEW_CHARS).collect()
}

/// Events of a bounded size, which cover the places without a gap.
fn in_events(
    after: i64,
    up_to: i64,
    notices: Vec<NoticeFor>,
    readers: Vec<UserId>,
) -> Vec<Noticed> {
    let mut parts = vec![Vec::new()];
    let mut receivers = 0;
    for notice in notices {
        let here = notice.receivers.len();
        let full = parts
            .last()
            .is_some_and(|part: &Vec<_>| part.len() == NOTICES || receivers + here > RECEIVERS);
        if full && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(Vec::new());
            receivers = 0;
        }
        receivers += here;
        if let Some(part) = parts.last_mut() {
            part.push(notice);
        }
    }
    let last = parts.len() - 1;
    let mut after = after;
    let mut readers = Some(readers);
    parts
        .into_iter()
        .enumerate()
        .map(|(index, notices)| {
            // Places of reads and of messages that were known go with the last event.
            let end = if index == last {
                up_to
            } else {
                after + notices.len() as i64
            };
            let noticed = Noticed {
                after,
                up_to: end,
                readers: readers.take().unwrap_or_default(),
                notices,
            };
            after = end;
            noticed
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use chat_events::{ConversationId, MessageId, NoticeFor, NoticeView, UserId};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::{RECEIVERS, in_events};

    fn notice(receivers: usize) -> NoticeFor {
        NoticeFor {
            receivers: vec![UserId::generate(); receivers],
            notice: NoticeView {
                id: Uuid::now_v7(),
                conversation_id: ConversationId::generate(),
                message_id: MessageId::generate(),
                seq: 1,
                sender_id: UserId::generate(),
                sender_username: String::new(),
                preview: String::new(),
                created_at: Timestamp::now(),
                read_at: None,
            },
        }
    }

    #[test]
    fn events_of_a_batch_are_bounded_and_cover_its_places_without_a_gap() {
        let rooms = vec![notice(RECEIVERS); 3];
        let pairs = vec![notice(1); 130];
        for (notices, parts) in [(rooms, 3), (pairs, 3), (vec![], 1)] {
            let (count, after, up_to) = (notices.len(), 10, 200);
            let reader = UserId::generate();
            let events = in_events(after, up_to, notices, vec![reader]);
            assert_eq!(events.len(), parts);
            assert_eq!(events[0].after, after);
            assert_eq!(events[0].readers, [reader]);
            assert_eq!(events[parts - 1].up_to, up_to);
            for two in events.windows(2) {
                assert_eq!(two[0].up_to, two[1].after);
                assert!(two[1].readers.is_empty());
            }
            let told: usize = events.iter().map(|event| event.notices.len()).sum();
            assert_eq!(told, count);
        }
    }
}
