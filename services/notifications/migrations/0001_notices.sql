-- Names and presence of users, as users and auth tell them.
create table people (
    user_id uuid not null,
    username text not null,
    display_name text not null,
    -- Of the profile; 0 while only the presence is known.
    version bigint not null default 0,
    online boolean not null default false,
    -- When users decided so; an older decision never wins.
    seen_at timestamptz,
    -- The row stays, so that a late event does not bring the account back.
    deleted_at timestamptz,
    constraint people_key primary key (user_id)
);

create index people_online on people (username) where online;

-- One row per receiver. Whoever changes a user's notices locks the row first,
-- so that the count is exact and is told in the order of the commits.
create table inboxes (
    user_id uuid not null,
    unread bigint not null default 0,
    constraint inboxes_key primary key (user_id),
    constraint inboxes_unread_not_negative check (unread >= 0)
);

-- How far a user has read a conversation. A message that comes after its read
-- makes a notice which is read already.
create table read_marks (
    user_id uuid not null,
    conversation_id uuid not null,
    up_to bigint not null,
    constraint read_marks_key primary key (user_id, conversation_id)
);

create table notices (
    -- Version 7: the newest has the highest.
    id uuid not null,
    user_id uuid not null,
    conversation_id uuid not null,
    message_id uuid not null,
    seq bigint not null,
    sender_id uuid not null,
    preview text not null,
    created_at timestamptz not null,
    read_at timestamptz,
    -- A deleted notice stays without its text, so that a repeated event does
    -- not bring it back.
    deleted_at timestamptz,
    constraint notices_key primary key (id),
    constraint notices_once_per_message unique (user_id, message_id)
);

create index notices_newest on notices (user_id, id desc)
    where deleted_at is null;
create index notices_unread_newest on notices (user_id, id desc)
    where deleted_at is null and read_at is null;
create index notices_unread_in_conversation on notices (user_id, conversation_id, seq)
    where deleted_at is null and read_at is null;

create table outbox (
    id bigint generated always as identity primary key,
    event jsonb not null
);
