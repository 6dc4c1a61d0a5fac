//! What one more receiver costs in memory, counted by the allocator.

use allocation_counter::measure;
use chat_events::{ConversationId, UserId};
use chat_kit::socket::SocketArgs;

use super::{Hub, open, stored};

/// Room that a session leaves in its mailbox.
const ROOM: usize = 4;

/// What is allocated to push one message to so many members: times and bytes.
fn to_push(members: usize) -> (u64, u64) {
    let hub = Hub::new(SocketArgs {
        sockets_per_user: 1,
        sockets_per_address: members,
        max_sockets: members,
        heartbeat_seconds: 20,
    });
    let users: Vec<UserId> = (0..members).map(|_| UserId::generate()).collect();
    let sockets: Vec<_> = users.iter().map(|user| open(&hub, *user)).collect();
    let room = ConversationId::generate();
    hub.push(&stored(room, &users, 1));
    for socket in &sockets {
        let waiting = socket.mailbox().take(Vec::with_capacity(ROOM));
        assert_eq!(waiting.len(), 1);
    }
    let message = stored(room, &users, 2);
    let allocated = measure(|| hub.push(&message));
    for socket in &sockets {
        assert_eq!(socket.mailbox().take(Vec::new()).len(), 1);
    }
    (allocated.count_total, allocated.bytes_total)
}

#[test]
fn a_message_to_a_thousand_is_encoded_once_and_copied_for_nobody() {
    let (few, many) = (to_push(10), to_push(1_000));
    assert!(few.0 > 0, "nothing was counted");
    assert_eq!(few, many);
}
