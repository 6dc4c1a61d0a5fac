//! Every limit that a client can meet. Sizes are in bytes unless the name says otherwise.

use std::time::Duration;

/// Longest message text, in characters.
pub const CONTENT_CHARS: usize = 4_000;
/// Largest frame that a socket accepts.
pub const FRAME: usize = 16 * 1024;
/// Largest JSON body of an HTTP request.
pub const BODY: usize = 256 * 1024;
/// A new connection has sent the head of its first request, such as the upgrade to a
/// socket, by then.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// Client frames in [`FRAME_WINDOW`].
pub const FRAMES_PER_WINDOW: u32 = 120;
pub const FRAME_WINDOW: Duration = Duration::from_secs(60);
/// One typing frame per conversation in this time; more are dropped.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(3);
/// A socket hears from the server at least this often.
pub const HEARTBEAT: Duration = Duration::from_secs(25);
pub const SOCKETS_PER_USER: usize = 10;
pub const SOCKETS_PER_ADDRESS: usize = 50;
pub const SOCKETS_PER_POD: usize = 20_000;
/// Events waiting for one slow socket before it is closed with 4008.
pub const OUT_QUEUE_EVENTS: usize = 256;
pub const OUT_QUEUE: usize = 1024 * 1024;
/// People whom one frame tells of.
pub const PEOPLE_PER_FRAME: usize = 1_000;
/// Whoever comes, goes or takes another name within this time is told together.
pub const PEOPLE_INTERVAL: Duration = Duration::from_millis(250);

/// Largest page of any list.
pub const PAGE_MAX: u32 = 100;
pub const USERS_PAGE: u32 = 10;
pub const MESSAGES_PAGE: u32 = 20;
pub const CONVERSATIONS_PAGE: u32 = 20;
pub const NOTICES_PAGE: u32 = 20;
/// Events in one answer to a resume.
pub const RESUME_PAGE: u32 = 500;
/// Bytes in one answer to a resume. Pushes wait while it is written, so it has to be on
/// its way long before they fill the queue of the socket.
pub const RESUME: usize = OUT_QUEUE / 4;
/// The most bytes that an event takes in JSON besides its text.
pub const AROUND_TEXT: usize = 400;
/// Conversations that one account may be in.
pub const POSITIONS: u32 = 5_000;

pub const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
pub const DISPLAY_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// A longer password is refused before it is hashed.
pub const PASSWORD: usize = 1_024;
pub const EMAIL_CHARS: usize = 254;

/// Life of an access token, and so of a socket.
pub const ACCESS_TOKEN: Duration = Duration::from_secs(600);
/// A refresh family ends when it was not used for this long …
pub const REFRESH_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// … and in any case after this.
pub const REFRESH_ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Queues of one conversation each; same conversation, same queue, one owner.
pub const PARTITIONS: u16 = 12;
/// Events in one broker message.
pub const BATCH_EVENTS: usize = 64;
/// Size at which a broker message is sent without waiting for more events.
pub const BATCH: usize = 64 * 1024;
/// Deliveries of an event before it goes to the dead-letter queue.
pub const DELIVERY_TRIES: i64 = 5;
