-- Who is who, as auth and users tell it. Deletion is final: its version is the
-- greatest, so no late event brings the person back.
create table people (
    user_id uuid constraint people_pkey primary key,
    username text not null,
    display_name text not null,
    version bigint not null,
    deleted boolean not null default false
);

-- `last_seq` counts messages and reads together. Whoever adds to the log holds
-- the row's lock, so the numbers have no gaps and are the one order.
-- Room is left on each page, because the counter changes with every message.
create table conversations (
    id uuid constraint conversations_pkey primary key,
    kind text not null constraint conversations_kind_check check (kind = 'direct'),
    low_id uuid not null,
    high_id uuid not null,
    last_seq bigint not null default 0,
    created_at timestamptz not null,
    -- Creation or the newest message; a read does not move a conversation up.
    last_activity_at timestamptz not null,
    constraint conversations_pair_check check (low_id < high_id),
    constraint conversations_pair_key unique (low_id, high_id)
) with (fillfactor = 80);

-- The read mark, with the log entry that it became. `read_event` is the event
-- that raised it, so that the same event again gets the same answer.
create table members (
    conversation_id uuid not null
        constraint members_conversation_id_fkey references conversations (id),
    user_id uuid not null,
    read_up_to bigint not null default 0,
    read_seq bigint,
    read_event uuid,
    read_at timestamptz,
    constraint members_pkey primary key (conversation_id, user_id)
) with (fillfactor = 80);
create index members_user_id_idx on members (user_id) include (conversation_id);

-- The key includes the sender, so that unread messages are counted in the index.
-- `body_hash` outlives the text: the same client_id with other words is refused
-- for ever.
create table messages (
    conversation_id uuid not null
        constraint messages_conversation_id_fkey references conversations (id),
    seq bigint not null,
    id uuid not null,
    sender_id uuid not null,
    client_id uuid not null,
    content text not null,
    body_hash bytea not null,
    created_at timestamptz not null,
    constraint messages_pkey primary key (conversation_id, seq) include (sender_id),
    constraint messages_client_id_key unique (conversation_id, sender_id, client_id)
);

-- Reads are entries of the same log as messages.
create table reads (
    conversation_id uuid not null
        constraint reads_conversation_id_fkey references conversations (id),
    seq bigint not null,
    user_id uuid not null,
    up_to bigint not null,
    at timestamptz not null,
    constraint reads_pkey primary key (conversation_id, seq)
);

-- Which replicas live, and which of them reads which queue. `fence` rises with
-- every change of the owner; a batch commits only under the fence that it began with.
create table replicas (
    pod text constraint replicas_pkey primary key,
    expires_at timestamptz not null
);
create table partitions (
    partition smallint constraint partitions_pkey primary key,
    owner text,
    expires_at timestamptz not null default '-infinity',
    fence bigint not null default 0
);
insert into partitions (partition) select generate_series(0, 11);

create table outbox (
    id bigint generated always as identity constraint outbox_pkey primary key,
    event jsonb not null
);

-- A restored database may give a number to another message than before, so
-- clients must be told. The random text finds a new database; the rest finds
-- a dump that was restored elsewhere and a recovery to a point in time.
create table epoch (
    value text not null,
    one boolean constraint epoch_pkey primary key default true,
    constraint epoch_one_check check (one)
);
insert into epoch (value) values (gen_random_uuid());
create view current_epoch as
select md5(concat_ws(' ',
    epoch.value,
    control.system_identifier,
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    'epoch'::regclass::oid
)) as epoch
from epoch, pg_control_system() as control;
