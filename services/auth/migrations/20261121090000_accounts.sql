create table accounts (
    id uuid constraint accounts_pkey primary key,
    -- As it was typed, with the domain in lower case.
    email text not null,
    username text not null
        constraint accounts_username_check check (username ~ '^[a-z0-9][a-z0-9._-]{2,31}$'),
    display_name text not null,
    -- The name as the eye reads it: two names that look alike are one.
    skeleton text not null generated always as (
        replace(translate(username, '01', 'ol'), 'rn', 'm')
    ) stored,
    -- Argon2id as a PHC string; keyid names the pepper.
    password text not null,
    created_at timestamptz not null default now()
);
create unique index accounts_email_key on accounts (lower(email));
create unique index accounts_skeleton_key on accounts (skeleton);

-- The pepper is random and lives here encrypted, so that JWT_KEY can be rotated
-- without making every password wrong. One row per JWT_KEY that may open it.
create table peppers (
    id text not null,
    sealed_by text constraint peppers_pkey primary key,
    sealed bytea not null,
    used_at timestamptz not null default now()
);

create table sessions (
    id uuid constraint sessions_pkey primary key,
    account_id uuid not null
        constraint sessions_account_id_fkey references accounts on delete cascade,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    ended_at timestamptz
);
create index sessions_account_id_idx on sessions (account_id) where ended_at is null;
create index sessions_ended_at_idx on sessions (ended_at) where ended_at is not null;

-- Every refresh token of a session, so that a used one is recognised. Hashes only.
create table refresh_tokens (
    hash bytea constraint refresh_tokens_pkey primary key,
    session_id uuid not null
        constraint refresh_tokens_session_id_fkey references sessions on delete cascade,
    created_at timestamptz not null default clock_timestamp(),
    used_at timestamptz,
    successor bytea,
    constraint refresh_tokens_used_check check ((used_at is null) = (successor is null))
);
create index refresh_tokens_session_id_idx on refresh_tokens (session_id);

-- Who tried how often. Here and not in Redis, because a limit must survive the
-- loss of a cache. The subject is a keyed hash of the e-mail as it was typed:
-- unknown addresses are counted like known ones.
create table account_throttles (
    subject bytea constraint account_throttles_pkey primary key,
    failures integer not null,
    free_at timestamptz not null
);
create index account_throttles_free_at_idx on account_throttles (free_at);
create table address_throttles (
    kind text not null,
    address text not null,
    -- When the bucket is full again.
    full_at timestamptz not null,
    constraint address_throttles_pkey primary key (kind, address)
);
create index address_throttles_full_at_idx on address_throttles (full_at);

create table outbox (
    id bigint constraint outbox_pkey primary key generated always as identity,
    event jsonb not null
);
