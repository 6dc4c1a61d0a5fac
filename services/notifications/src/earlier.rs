//! `/ws/notifications/{username}`: the paths of the earlier system. They take
//! the caller's own name only, and reading no longer deletes.

pub mod delete;
pub mod list;

use chat_events::Code;
use chat_kit::Problem;
use chat_kit::identity::Authenticated;

/// 403 for any other name, whether somebody has it or not.
fn only_own_name(caller: &Authenticated, username: &str) -> Result<(), Problem> {
    if caller.username() == username {
        Ok(())
    } else {
        Err(Code::Forbidden.into())
    }
}
