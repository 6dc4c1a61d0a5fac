//! Changing the key of access tokens without refusing one of them.
//!
//! A service accepts what the keys published by auth can verify, so a key must be
//! published by every auth pod before any signs with it, and an old one for as long
//! as tokens live that it signed:
//!
//! | stage | `JWT_KEY` | `JWT_KEY_PREVIOUS` | goes on when |
//! | --- | --- | --- | --- |
//! | settled | old | | a new key is wished for |
//! | announced | old | new | every auth pod runs so |
//! | swapped | new | old | every auth pod runs so |
//! | retiring | new | old | the last token of the old key has expired |
//! | settled | new | | |

use std::collections::BTreeMap;
use std::time::Duration;

use chat_events::limits;
use jiff::Timestamp;

use super::Credentials;

/// On a ChatCluster: each new value of it asks for a new key.
pub const ROTATE: &str = "chatcluster.io/rotate";
/// On the Secret `<chat>-jwt`: how far the change of the key is, and which value of
/// [`ROTATE`] was the last to be heard.
pub const STAGE: &str = "chatcluster.io/rotation-stage";
pub const SINCE: &str = "chatcluster.io/rotation-since";
pub const HEARD: &str = "chatcluster.io/rotation-heard";

/// For clocks that differ, and for keys that a service keeps for a moment.
const MARGIN: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    pub stage: Stage,
    /// The value of the annotation that asked for the last change.
    pub heard: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Settled,
    Announced,
    Swapped,
    /// Since when every auth pod signs with the new key.
    Retiring(Timestamp),
}

/// Which key there should be.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// The one that the user's Secret holds.
    Given(&'a str),
    /// One of ours, and `fresh` in its place when the request is a new one.
    Generated {
        request: Option<&'a str>,
        fresh: &'a str,
    },
}

impl Rotation {
    /// What the annotations of `<chat>-jwt` say.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        let since = annotations.get(SINCE).and_then(|it| it.parse().ok());
        let stage = match annotations.get(STAGE).map(String::as_str) {
            Some("announced") => Stage::Announced,
            Some("swapped") => Stage::Swapped,
            // Without its time, the time is waited for anew.
            Some("retiring") => since.map_or(Stage::Swapped, Stage::Retiring),
            _ => Stage::Settled,
        };
        Self {
            stage,
            heard: annotations.get(HEARD).cloned(),
        }
    }

    /// The same as annotations.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let stage = match self.stage {
            Stage::Settled => None,
            Stage::Announced => Some("announced"),
            Stage::Swapped => Some("swapped"),
            Stage::Retiring(_) => Some("retiring"),
        };
        let since = match self.stage {
            Stage::Retiring(since) => Some(since.to_string()),
            _ => None,
        };
        [
            (STAGE, stage.map(str::to_owned)),
            (SINCE, since),
            (HEARD, self.heard.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// When to look again although nothing changes.
    pub fn wake(&self, now: Timestamp) -> Option<Duration> {
        let Stage::Retiring(since) = self.stage else {
            return None;
        };
        Some(left(since, now))
    }
}

impl Credentials {
    /// At most one step towards the wish. `runs` says whether every auth pod runs
    /// with the keys as they stand now.
    #[must_use]
    pub fn rotated(mut self, wish: Wish<'_>, runs: bool, now: Timestamp) -> Self {
        match self.rotation.stage {
            Stage::Settled => self.begin(wish),
            Stage::Announced if runs => {
                self.swap();
                self.rotation.stage = Stage::Swapped;
            }
            Stage::Swapped if runs => self.rotation.stage = Stage::Retiring(now),
            Stage::Retiring(since) if left(since, now).is_zero() => {
                self.jwt_key_previous = None;
                self.rotation.stage = Stage::Settled;
            }
            Stage::Announced | Stage::Swapped | Stage::Retiring(_) => {}
        }
        self
    }

    fn begin(&mut self, wish: Wish<'_>) {
        let new = match wish {
            Wish::Given(key) => key,
            Wish::Generated { request, fresh } => {
                if request.is_none() || self.rotation.heard.as_deref() == request {
                    return;
                }
                self.rotation.heard = request.map(str::to_owned);
                fresh
            }
        };
        if new != self.jwt_key {
            self.jwt_key_previous = Some(new.to_owned());
            self.rotation.stage = Stage::Announced;
        }
    }

    fn swap(&mut self) {
        // Without a second key (somebody edited the Secret) there is nothing to swap.
        if let Some(new) = self.jwt_key_previous.take() {
            self.jwt_key_previous = Some(std::mem::replace(&mut self.jwt_key, new));
        }
    }
}

fn left(since: Timestamp, now: Timestamp) -> Duration {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (limits::ACCESS_TOKEN + MARGIN).saturating_sub(passed)
}

#[cfg(test)]
mod tests;
