-- For one service: its role owns one database, and nobody else may connect to it. A
-- second role takes turns with it at logging in, and does all it does as the first.
-- Whose file of the password is not there is refused.
\set first `cat "$FIRST" 2>/dev/null || true`
\set second `cat "$SECOND" 2>/dev/null || true`
\set member :role '_2'
set log_min_error_statement = panic;
set client_min_messages = warning;
select format('create role %I', it) from unnest(array[:'role', :'member']) it
where not exists (select from pg_roles where rolname = it) \gexec
grant :"role" to :"member";
alter role :"member" set role to :"role";
select :'first' <> '' as first_is_accepted, :'second' <> '' as second_is_accepted \gset
\if :first_is_accepted
alter role :"role" login nosuperuser nocreatedb nocreaterole noreplication nobypassrls
  password :'first';
\else
alter role :"role" nologin password null;
\endif
\if :second_is_accepted
alter role :"member" login nosuperuser nocreatedb nocreaterole noreplication nobypassrls
  password :'second';
\else
alter role :"member" nologin password null;
\endif
-- Who came in before must go as well.
select pg_terminate_backend(pid) from pg_stat_activity
join pg_roles on rolname = usename
where usename in (:'role', :'member') and not rolcanlogin \g /dev/null
select format('create database %I owner %I', :'role', :'role')
where not exists (select from pg_database where datname = :'role') \gexec
revoke all on database :"role" from public;
