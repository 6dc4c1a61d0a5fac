-- One notice per message, however many receive it; a mark per reader; a row of its
-- own only where somebody reads or deletes one notice. Why the earlier tables stay:
-- docs/decisions/0024-one-notice-per-message.md.

-- A set of members of a conversation, as an event told it. The id is made from the
-- set itself, so it is written once, and a message belongs to the same set for ever.
create table audiences (
    audience uuid not null,
    user_id uuid not null,
    conversation_id uuid not null,
    constraint audiences_key primary key (audience, user_id)
);
create index audiences_of_user on audiences (user_id);

-- Its receivers are the audience without the sender.
create table message_notices (
    -- Version 7: the newest has the highest.
    id uuid not null,
    audience uuid not null,
    seq bigint not null,
    message_id uuid not null,
    sender_id uuid not null,
    created_at timestamptz not null,
    -- Empty as soon as every receiver has deleted the notice.
    preview text not null,
    constraint message_notices_key primary key (id),
    -- With the message, because a restored log may give its number to another one.
    constraint message_notices_once unique (audience, seq, message_id)
);
create index message_notices_newest on message_notices (audience, id);

-- A notice that its receiver read or deleted by itself. It stays, so that a repeated
-- event does not bring a deleted notice back.
create table exceptions (
    user_id uuid not null,
    audience uuid not null,
    seq bigint not null,
    message_id uuid not null,
    read_at timestamptz,
    deleted_at timestamptz,
    constraint exceptions_key primary key (user_id, audience, seq, message_id)
);

-- How many messages and reads were handled. Who handles them locks the row first, so
-- whoever sees a place sees everything up to it.
create table progress (
    place bigint not null default 0,
    one boolean not null default true,
    constraint progress_key primary key (one),
    constraint progress_one_check check (one)
);
insert into progress default values;

-- When the mark came to stand where it is. By conversation, to find those who have
-- read a message before it came.
alter table read_marks
    add column read_at timestamptz not null default now(),
    drop constraint read_marks_key,
    add constraint read_marks_key primary key (conversation_id, user_id);

-- The same as `audience::id` of the service.
create function audience_of(conversation uuid, members uuid[]) returns uuid
language sql immutable as $$
    select encode(substring(
        sha256(uuid_send(conversation) || string_agg(uuid_send(member), ''::bytea order by member))
        from 1 for 16), 'hex')::uuid
    from unnest(members) as member
$$;

-- From here on: what keeps the pods of the earlier release right, and goes with them.

-- Copies rows of the earlier table; again is fine. They have one receiver each.
create function carry_over(given notices[]) returns void
language sql as $$
    insert into audiences (audience, user_id, conversation_id)
    select distinct audience_of(conversation_id, array[g.user_id, sender_id]), member, conversation_id
    from unnest(given) g cross join unnest(array[g.user_id, sender_id]) as member
    order by 1, 2
    on conflict on constraint audiences_key do nothing;

    insert into message_notices (id, audience, seq, message_id, sender_id, created_at, preview)
    select id, audience_of(conversation_id, array[user_id, sender_id]), seq, message_id, sender_id,
           created_at, preview
    from unnest(given)
    on conflict do nothing;

    insert into exceptions (user_id, audience, seq, message_id, read_at, deleted_at)
    select user_id, audience_of(conversation_id, array[user_id, sender_id]), seq, message_id, read_at,
           deleted_at
    from unnest(given)
    where read_at is not null or deleted_at is not null
    order by 1, 2, 3, 4
    on conflict on constraint exceptions_key do update
    set read_at = coalesce(exceptions.read_at, excluded.read_at),
        deleted_at = coalesce(exceptions.deleted_at, excluded.deleted_at);

    update message_notices n set preview = ''
    from unnest(given) g
    where g.deleted_at is not null and n.preview <> ''
      and n.audience = audience_of(g.conversation_id, array[g.user_id, g.sender_id])
      and n.seq = g.seq and n.message_id = g.message_id;
$$;

create function recount(users uuid[]) returns void
language sql as $$
    update inboxes set unread = (
        select count(*) from notices
        where notices.user_id = inboxes.user_id and read_at is null and deleted_at is null
    ) where user_id = any(users)
$$;

-- Takes everything of a person away, here and in the earlier tables.
create function forget(person uuid) returns void
language sql as $$
    delete from message_notices n using audiences own
    where own.user_id = person and n.audience = own.audience and n.sender_id <> person
      and not exists (select from audiences o
                      where o.audience = own.audience and o.user_id not in (person, n.sender_id));
    delete from audiences where user_id = person;
    delete from exceptions where user_id = person;
    delete from read_marks where user_id = person;
    delete from notices where user_id = person;
    delete from inboxes where user_id = person;
$$;

create function notices_changed() returns trigger
language plpgsql as $$
begin
    perform carry_over((select array_agg(changed::notices) from changed));
    return null;
end
$$;

create function inboxes_gone() returns trigger
language plpgsql as $$
begin
    perform forget(user_id) from gone;
    return null;
end
$$;

create function exceptions_made() returns trigger
language plpgsql as $$
declare
    users uuid[];
begin
    with done as (
        update notices n
        set read_at = coalesce(n.read_at, made.read_at),
            deleted_at = coalesce(n.deleted_at, made.deleted_at),
            preview = case when made.deleted_at is null then n.preview else '' end
        from made
        where n.user_id = made.user_id and n.message_id = made.message_id
        returning n.user_id
    )
    select array_agg(distinct user_id) into users from done;
    if users is not null then
        perform recount(users);
    end if;
    return null;
end
$$;

create function marks_moved() returns trigger
language plpgsql as $$
declare
    users uuid[];
begin
    with done as (
        update notices n set read_at = now()
        from moved
        where n.user_id = moved.user_id and n.conversation_id = moved.conversation_id
          and n.seq <= moved.up_to and n.read_at is null and n.deleted_at is null
        returning n.user_id
    )
    select array_agg(distinct user_id) into users from done;
    if users is not null then
        perform recount(users);
    end if;
    return null;
end
$$;

-- Each side's own writes only: what a trigger writes comes from the other side.
create trigger carry_over_new after insert on notices
    referencing new table as changed for each statement
    when (pg_trigger_depth() = 0) execute function notices_changed();
create trigger carry_over_changed after update on notices
    referencing new table as changed for each statement
    when (pg_trigger_depth() = 0) execute function notices_changed();
create trigger carry_over_gone after delete on inboxes
    referencing old table as gone for each statement
    when (pg_trigger_depth() = 0) execute function inboxes_gone();
create trigger carry_back_new after insert on exceptions
    referencing new table as made for each statement
    when (pg_trigger_depth() = 0) execute function exceptions_made();
create trigger carry_back_changed after update on exceptions
    referencing new table as made for each statement
    when (pg_trigger_depth() = 0) execute function exceptions_made();
create trigger carry_back_mark after insert on read_marks
    referencing new table as moved for each statement
    when (pg_trigger_depth() = 0) execute function marks_moved();
create trigger carry_back_moved after update on read_marks
    referencing new table as moved for each statement
    when (pg_trigger_depth() = 0) execute function marks_moved();
