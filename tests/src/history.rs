//! What happened in a run, as JSON lines: every operation of every client, every
//! frame that it heard, everything that it showed, and at the end what was found
//! in the stores. The [checker](crate::checker) judges it afterwards.

pub mod clean;
mod closing;
mod index;
mod names;
mod record;
mod recorder;

pub use closing::{close, close_tables, notices_made, presence_of, sample, tops};
pub use index::{
    At, Cached, Client, Connection, Content, Conversation, Entered, Finals, History, Level,
    Membership, Outcome, Place, Presence, RECOVERY, ReadMark, Resource, Send, Sighting, Source,
    Standing, TypingFrame,
};
pub use names::{ClientIx, ContentIx, SendIx, UserIx};
pub use record::{Entry, Function, Hash, Kind, Record, Via};
pub use recorder::{Process, Recorder};
