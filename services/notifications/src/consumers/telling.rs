//! Tells the open sockets of this pod which notices are new and how many are unread.
//! A count comes from the tables when a user is first told, and is kept from then on.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_events::{NoticeView, Noticed, NotificationFrame, UserId};
use chat_kit::broker::Backoff;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::inbox::{self, Count};
use crate::socket::{Hub, NoticeFrame, item};
use crate::state::AppState;

/// Users whose notices are counted with one statement.
const COUNTED: usize = 1_000;
/// After an event of so many notices there are more to come …
const MANY: usize = 32;
/// … and whoever keeps up with reading gets the time to take them.
const BREATH: Duration = Duration::from_millis(2);

pub struct Telling {
    state: AppState,
    heard: Mutex<Vec<Heard>>,
    news: Notify,
}

pub enum Heard {
    Stored(Noticed),
    /// The user's notices were read or deleted. A pod of the release before this one
    /// tells of a new notice so.
    Changed(UserId, Option<NoticeView>),
    /// What was before may have been missed.
    Subscribed,
}

impl Telling {
    pub fn new(state: AppState) -> Arc<Self> {
        Arc::new(Self {
            state,
            heard: Mutex::default(),
            news: Notify::new(),
        })
    }

    fn heard(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn hear(&self, heard: Heard) {
        self.heard().push(heard);
        self.news.notify_one();
    }

    /// Tells until `stop`, in the order of what was heard.
    pub async fn tell(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut counts = Counts::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.news.notified() => {}
            }
            let heard = mem::take(&mut *self.heard());
            match self.tell_all(&mut counts, &heard).await {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(error = %error, "telling of notices has to wait");
                    self.heard().splice(0..0, heard);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = backoff.wait() => {}
                    }
                    self.news.notify_one();
                }
            }
        }
    }

    async fn tell_all(&self, counts: &mut Counts, heard: &[Heard]) -> sqlx::Result<()> {
        let hub = &self.state.hub;
        let unknown = counts.unknown(heard, hub);
        let mut counted = HashMap::new();
        if !unknown.is_empty() {
            // Everything that was heard is committed, so it is in the counts.
            for users in unknown.chunks(COUNTED) {
                let mut snapshot = inbox::snapshot(&self.state.database).await?;
                counted.extend(inbox::counts(&mut snapshot, users).await?);
            }
        }
        let mut silent: HashSet<UserId> = counted.keys().copied().collect();
        for heard in heard {
            counts.tell(heard, &counted, &mut silent, hub);
            if matches!(heard, Heard::Stored(noticed) if noticed.notices.len() >= MANY) {
                sleep(BREATH).await;
            }
        }
        counts.keep(counted, &silent, hub);
        Ok(())
    }
}

/// What this pod knows of the counts of those who have sockets here.
#[derive(Default)]
struct Counts {
    /// The place up to which everything was heard.
    heard: Option<i64>,
    /// The place is that of the last look at the tables.
    known: HashMap<UserId, Count>,
}

/// Whether an event says what was heard before, follows on it, or something is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Repeat,
    Next,
    AfterGap,
}

fn turn(heard: Option<i64>, noticed: &Noticed) -> Turn {
    match heard {
        Some(heard) if noticed.after > heard => Turn::AfterGap,
        Some(heard) if noticed.up_to <= heard => Turn::Repeat,
        _ => Turn::Next,
    }
}

impl Counts {
    /// Those who are to be told, and whose counts have to be looked up.
    fn unknown(&self, heard: &[Heard], hub: &Hub) -> Vec<UserId> {
        let mut users = HashSet::new();
        let mut place = self.heard;
        let mut known = Some(&self.known);
        for heard in heard {
            match heard {
                Heard::Subscribed => (place, known) = (None, None),
                Heard::Changed(user, _) => users.extend(hub.here(&[*user])),
                Heard::Stored(noticed) => {
                    match turn(place, noticed) {
                        Turn::Repeat => continue,
                        Turn::Next => {}
                        Turn::AfterGap => users.extend(hub.users()),
                    }
                    place = place.max(Some(noticed.up_to));
                    users.extend(hub.here(&noticed.readers));
                    for new in &noticed.notices {
                        let here = hub.here(&new.receivers).into_iter();
                        let is_known =
                            |user: &UserId| known.is_some_and(|it| it.contains_key(user));
                        users.extend(here.filter(|user| !is_known(user)));
                    }
                }
            }
        }
        users.into_iter().collect()
    }

    /// Posts the frames. `counted` is as of after everything that was heard; who hears of
    /// a notice is no longer `silent`.
    fn tell(
        &mut self,
        heard: &Heard,
        counted: &HashMap<UserId, Count>,
        silent: &mut HashSet<UserId>,
        hub: &Hub,
    ) {
        match heard {
            Heard::Subscribed => {
                self.heard = None;
                self.known.clear();
            }
            Heard::Changed(user, notice) => {
                if let (Some(count), Some(notice)) = (counted.get(user), notice) {
                    silent.remove(user);
                    hub.tell(*user, &NoticeFrame::new(notice).with(count.unread));
                }
                self.known.remove(user);
            }
            Heard::Stored(noticed) => {
                match turn(self.heard, noticed) {
                    Turn::Repeat => return,
                    Turn::Next => {}
                    Turn::AfterGap => self.known.retain(|user, _| counted.contains_key(user)),
                }
                self.heard = self.heard.max(Some(noticed.up_to));
                for reader in &noticed.readers {
                    if !counted.contains_key(reader) {
                        self.known.remove(reader);
                    }
                }
                for new in &noticed.notices {
                    let frame = NoticeFrame::new(&new.notice);
                    for user in &new.receivers {
                        let Some(unread) = self.count(*user, noticed.up_to, counted) else {
                            continue;
                        };
                        if hub.tell(*user, &frame.with(unread)) {
                            silent.remove(user);
                        } else {
                            // Whoever comes back finds the count in the tables.
                            self.known.remove(user);
                        }
                    }
                }
            }
        }
    }

    /// Keeps what was counted, and tells it to those who heard of no notice.
    fn keep(&mut self, counted: HashMap<UserId, Count>, silent: &HashSet<UserId>, hub: &Hub) {
        for (user, count) in counted {
            let before = self.known.insert(user, count);
            if silent.contains(&user) && before.is_none_or(|before| before.unread != count.unread) {
                let unread = count.unread;
                hub.tell(user, &item(&NotificationFrame::Unread { unread }));
            }
        }
        self.forget_those_who_left(hub);
    }

    /// The count of a receiver with one more notice.
    fn count(&mut self, user: UserId, place: i64, counted: &HashMap<UserId, Count>) -> Option<i64> {
        if let Some(count) = counted.get(&user) {
            return Some(count.unread);
        }
        let known = self.known.get_mut(&user)?;
        if place > known.place {
            known.unread += 1;
        }
        Some(known.unread)
    }

    /// A user who left and is told of nothing would be kept for ever.
    fn forget_those_who_left(&mut self, hub: &Hub) {
        if self.known.len() > 2 * hub.users_here() + 100 {
            let here: HashSet<UserId> = hub.users().into_iter().collect();
            self.known.retain(|user, _| here.contains(user));
        }
    }
}
