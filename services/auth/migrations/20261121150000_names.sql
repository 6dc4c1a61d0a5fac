-- People change their names at users; the newest version that was heard of stays.
alter table accounts add column version bigint not null default 1;
