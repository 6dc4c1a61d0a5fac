//! Changing the passwords of services in managed stores without refusing one request.
//!
//! A store knows two logins of each service, which take turns: with one of them the
//! service works, the other is refused except while a change is under way:
//!
//! | stage | services use | stores accept | goes on when |
//! | --- | --- | --- | --- |
//! | settled | old | old | new passwords are wished for |
//! | announced | old | old and new | every store was seen to accept both |
//! | swapped | new | old and new | every pod of every service runs so |
//! | retiring | new | old and new | pods that still end have ended |
//! | withdrawn | new | new | every store was seen to refuse the old |
//! | settled | new | new | |

use std::collections::BTreeMap;
use std::time::Duration;

use chat_events::Service;
use jiff::Timestamp;

use super::{Credentials, Data, new_secret, text};

/// On a ChatCluster: each new value of it asks for new passwords.
pub const ROTATE_PASSWORDS: &str = "chatcluster.io/rotate-passwords";
/// On the Secret `<chat>-credentials`: how far that is, until when the old ones are
/// kept, which of the two logins services use, and which value of [`ROTATE_PASSWORDS`]
/// was the last to be heard.
pub const STAGE: &str = "chatcluster.io/passwords-stage";
pub const UNTIL: &str = "chatcluster.io/passwords-until";
pub const LOGIN: &str = "chatcluster.io/passwords-login";
pub const HEARD: &str = "chatcluster.io/passwords-heard";

/// For clocks that differ.
const MARGIN: Duration = Duration::from_secs(30);

/// One of the two logins of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    #[default]
    First,
    Second,
}

impl Turn {
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    pub const fn number(self) -> &'static str {
        match self {
            Self::First => "1",
            Self::Second => "2",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Settled,
    Announced,
    Swapped,
    /// Until when pods may end that use the old passwords.
    Retiring(Timestamp),
    Withdrawn,
}

/// The logins of all services. What is accepted where follows from the stage alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passwords {
    /// Which of the two the services use.
    pub used: Turn,
    pub stage: Stage,
    /// The value of the annotation that asked for the last change.
    pub heard: Option<String>,
    /// By service name.
    first: BTreeMap<String, String>,
    second: BTreeMap<String, String>,
}

impl Passwords {
    /// What `<chat>-credentials` holds and what its annotations say.
    pub fn read(data: &Data, annotations: &BTreeMap<String, String>) -> Self {
        let until = annotations.get(UNTIL).and_then(|it| it.parse().ok());
        let stage = match annotations.get(STAGE).map(String::as_str) {
            Some("announced") => Stage::Announced,
            Some("swapped") => Stage::Swapped,
            // Without its time, the time is waited for anew.
            Some("retiring") => until.map_or(Stage::Swapped, Stage::Retiring),
            Some("withdrawn") => Stage::Withdrawn,
            _ => Stage::Settled,
        };
        let used = match annotations.get(LOGIN).map(String::as_str) {
            Some("2") => Turn::Second,
            _ => Turn::First,
        };
        let of = |turn: Turn| {
            let all = Service::ALL.into_iter();
            all.filter_map(|it| Some((it.name().to_owned(), text(data, &key(it.name(), turn))?)))
                .collect()
        };
        let read = Self {
            used,
            stage,
            heard: annotations.get(HEARD).cloned(),
            first: of(Turn::First),
            second: of(Turn::Second),
        };
        match stage {
            Stage::Settled => read.inferred(),
            _ => read,
        }
    }

    /// The same with the stage and the login in use that the passwords tell of.
    fn inferred(mut self) -> Self {
        (self.used, self.stage) = match (self.first.is_empty(), self.second.is_empty()) {
            (true, false) => (Turn::Second, Stage::Settled),
            // Stores accept both, and whichever services come to use is right.
            (false, false) => (self.used, Stage::Swapped),
            _ => (Turn::First, Stage::Settled),
        };
        self
    }

    /// The same as annotations.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let stage = match self.stage {
            Stage::Settled => None,
            Stage::Announced => Some("announced"),
            Stage::Swapped => Some("swapped"),
            Stage::Retiring(_) => Some("retiring"),
            Stage::Withdrawn => Some("withdrawn"),
        };
        let until = match self.stage {
            Stage::Retiring(until) => Some(until.to_string()),
            _ => None,
        };
        let login = (self.used == Turn::Second).then(|| self.used.number());
        [
            (STAGE, stage.map(str::to_owned)),
            (UNTIL, until),
            (LOGIN, login.map(str::to_owned)),
            (HEARD, self.heard.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// The same as data.
    pub fn data(&self) -> impl Iterator<Item = (String, &str)> {
        Turn::BOTH.into_iter().flat_map(|turn| {
            let all = self.of(turn).iter();
            all.map(move |(service, password)| (key(service, turn), password.as_str()))
        })
    }

    /// Whether stores accept this one of the two.
    pub const fn accepts(&self, turn: Turn) -> bool {
        matches!(
            (self.stage, self.used, turn),
            (Stage::Announced | Stage::Swapped | Stage::Retiring(_), _, _)
                | (_, Turn::First, Turn::First)
                | (_, Turn::Second, Turn::Second)
        )
    }

    /// When to look again although nothing changes.
    pub fn wake(&self, now: Timestamp) -> Option<Duration> {
        match self.stage {
            Stage::Retiring(until) => Some(left(until, now)),
            _ => None,
        }
    }

    const fn of(&self, turn: Turn) -> &BTreeMap<String, String> {
        match turn {
            Turn::First => &self.first,
            Turn::Second => &self.second,
        }
    }

    const fn of_mut(&mut self, turn: Turn) -> &mut BTreeMap<String, String> {
        match turn {
            Turn::First => &mut self.first,
            Turn::Second => &mut self.second,
        }
    }

    /// Makes what should be there and is not. The first password of all is the one that
    /// the service has without any change.
    pub(super) fn complete(&mut self) -> anyhow::Result<()> {
        if self.used == Turn::Second || self.stage != Stage::Settled {
            for service in Service::ALL {
                let password = self.second.entry(service.name().to_owned()).or_default();
                if password.is_empty() {
                    *password = new_secret()?;
                }
            }
        }
        Ok(())
    }

    /// From Secrets that services mount, after the one that holds all was deleted.
    pub(super) fn restore(&mut self, service: Service, mounted: &Data) {
        for turn in Turn::BOTH {
            if let Some(password) = text(mounted, &format!("password-{}", turn.number())) {
                self.of_mut(turn)
                    .insert(service.name().to_owned(), password);
            }
        }
        *self = std::mem::take(self).inferred();
    }
}

impl Credentials {
    /// The password of one of the two logins of a service.
    pub fn password(&self, service: Service, turn: Turn) -> &str {
        match (self.passwords.of(turn).get(service.name()), turn) {
            (Some(password), _) => password,
            (None, Turn::First) => self.of(service),
            (None, Turn::Second) => "",
        }
    }

    /// At most one step towards what is asked for. `seen` is there when what the stage
    /// waits for was seen; it is the time that a pod of a service may take to end.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn with_new_passwords(
        mut self,
        request: Option<&str>,
        seen: Option<Duration>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let passwords = &mut self.passwords;
        match (passwords.stage, seen) {
            (Stage::Settled, _) if request.is_some() && passwords.heard.as_deref() != request => {
                self.begin_new_passwords(request)?;
            }
            (Stage::Announced, Some(_)) => {
                passwords.used = passwords.used.other();
                passwords.stage = Stage::Swapped;
            }
            (Stage::Swapped, Some(grace)) => {
                let until = now.checked_add(grace + MARGIN).unwrap_or(Timestamp::MAX);
                passwords.stage = Stage::Retiring(until);
            }
            (Stage::Retiring(until), _) if left(until, now).is_zero() => {
                passwords.stage = Stage::Withdrawn;
            }
            (Stage::Withdrawn, Some(_)) => {
                passwords.of_mut(passwords.used.other()).clear();
                passwords.stage = Stage::Settled;
            }
            _ => {}
        }
        Ok(self)
    }

    /// After their Secret was deleted: what it held is as good as known to somebody.
    pub(super) fn distrust_passwords(&mut self, request: Option<&str>) -> anyhow::Result<()> {
        if self.passwords.stage == Stage::Settled {
            self.begin_new_passwords(request)?;
        }
        Ok(())
    }

    fn begin_new_passwords(&mut self, request: Option<&str>) -> anyhow::Result<()> {
        let passwords = &mut self.passwords;
        if passwords.used == Turn::First && passwords.first.is_empty() {
            // The first change: from now on, what is held tells that there are two.
            passwords.first.clone_from(&self.services);
        }
        *passwords.of_mut(passwords.used.other()) = fresh()?;
        passwords.heard = request.map(str::to_owned).or(passwords.heard.take());
        passwords.stage = Stage::Announced;
        Ok(())
    }
}

fn fresh() -> anyhow::Result<BTreeMap<String, String>> {
    let all = Service::ALL.into_iter();
    all.map(|service| Ok((service.name().to_owned(), new_secret()?)))
        .collect()
}

fn key(service: &str, turn: Turn) -> String {
    format!("{service}-{}", turn.number())
}

fn left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
