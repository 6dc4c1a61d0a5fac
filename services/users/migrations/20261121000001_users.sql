create table users (
    -- Made by auth.
    id uuid constraint users_pkey primary key,
    username text not null,
    display_name text not null,
    -- The names in lower case. Compared byte by byte, so that the order of a
    -- list survives a new collation and a prefix is a range of the index.
    username_key text collate "C" not null,
    display_name_key text collate "C" not null,
    -- Rises with every change of the profile.
    version bigint not null,
    online boolean not null default false,
    -- No pod holds a socket of this online user since then. Others are told
    -- when the user does not come back.
    away_since timestamptz,
    last_seen_at timestamptz,
    -- The directory versions at which `online` changed, the last ones only. They
    -- tell what it was when a list was begun, so that paging sees everybody once.
    presence_changes bigint[] not null default '{}',
    -- The last of them.
    presence_version bigint not null default 0
) with (fillfactor = 80);

-- auth says who may have which name, so a name is not unique here: the events
-- of a user who left and of the next one with the same name may cross.
create index users_username_idx on users (username_key, id);
create index users_display_name_idx on users (display_name_key);
create index users_online_idx on users (online, username_key, id);
create index users_presence_version_idx on users (presence_version);

-- Who was deleted stays deleted when an older event arrives again.
create table deleted_users (
    id uuid constraint deleted_users_pkey primary key,
    deleted_at timestamptz not null default now()
);

-- One row. Every transaction that changes what a list shows raises it, as its
-- last statement before the events, because all others wait for the row.
create table directory (
    one boolean not null default true constraint directory_pkey primary key
        constraint directory_has_one_row check (one),
    version bigint not null
);
insert into directory (version) values (1);

create table outbox (
    id bigint generated always as identity constraint outbox_pkey primary key,
    event jsonb not null
);
