//! Faults that can be put into a running service on purpose, one at a time, to
//! see whether the tests find them. Without the feature `planted`, [`bug`] is a
//! constant, and the compiler removes what stands behind it.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are for tests; a release cannot have them");

macro_rules! bugs {
    ($($bug:ident $name:literal $what:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// The value of `PLANTED` that plants it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    AckBeforeCommit "ack-before-commit"
        "messages acknowledges sends before they are committed."
    AckBeforeEffect "ack-before-effect"
        "The other consumers acknowledge events before they took effect."
    AcceptedBeforeConfirm "accepted-before-confirm"
        "A send is accepted before the broker has it."
    NoMandatory "no-mandatory"
        "An event that no queue takes is taken for published."
    OutboxCursor "outbox-cursor"
        "The relay passes by rows whose id is lower than the last one that it saw."
    DedupeForgets "dedupe-forgets"
        "Nobody looks whether a send was stored before."
    OrderByClock "order-by-clock"
        "Sends are numbered by the clocks of their senders."
    SeqFromMax "seq-from-max"
        "The next number is counted from the messages, without a lock."
    ReadMarkFalls "read-mark-falls"
        "A read mark goes wherever it is told to."
    StaleCache "stale-cache"
        "A page is kept under the key of what was stored after it was read."
    RequeueForEver "requeue-for-ever"
        "What cannot be read is put back again and again."
    PanicOnBadEvent "panic-on-bad-event"
        "What cannot be read ends its consumer."
    ResumeHalf "resume-half"
        "A resume gives the first half of what was missed."
    NoTailCheck "no-tail-check"
        "Heartbeats do not say where the logs end."
    FanOutToEverybody "fan-out-to-everybody"
        "Every socket of the pod is told of every entry."
    RevokeNotTold "revoke-not-told"
        "Sockets are not told that their session ended."
    RefreshBranch "refresh-branch"
        "A refresh token that was used gets another successor."
    PresenceWithoutTtl "presence-without-ttl"
        "The lease of a pod does not run out."
    NoticeTwice "notice-twice"
        "A message that is told of again makes another notice."
    PoolLeak "pool-leak"
        "A refused refresh keeps its database connection."
}

/// Whether this process has the bug.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn bug(_: Bug) -> bool {
    false
}

/// Whether this process has the bug.
#[cfg(feature = "planted")]
pub fn bug(bug: Bug) -> bool {
    *PLANTED == Ok(Some(bug))
}

/// Says in the log what is planted.
///
/// # Errors
/// When no bug has the name in `PLANTED`: a test would look for it in vain.
pub fn announce() -> anyhow::Result<()> {
    #[cfg(feature = "planted")]
    match &*PLANTED {
        Ok(None) => {}
        Ok(Some(bug)) => tracing::error!(bug = bug.name(), "a bug is planted here"),
        Err(name) => anyhow::bail!("PLANTED: no bug is called {name}"),
    }
    Ok(())
}

/// The bug that `PLANTED` names, read once; or a name that no bug has.
#[cfg(feature = "planted")]
static PLANTED: std::sync::LazyLock<Result<Option<Bug>, String>> = std::sync::LazyLock::new(|| {
    let Ok(name) = std::env::var("PLANTED") else {
        return Ok(None);
    };
    let mut bugs = Bug::ALL.iter().copied();
    bugs.find(|bug| bug.name() == name).map(Some).ok_or(name)
});
