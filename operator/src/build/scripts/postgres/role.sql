-- Run at every start, for one service: its role owns one database, and nobody
-- else may connect to it.
\set password `cat "$PASSWORD_FILE"`
set log_min_error_statement = panic;
select format('create role %I login', :'role')
where not exists (select from pg_roles where rolname = :'role') \gexec
alter role :"role" login nosuperuser nocreatedb nocreaterole noreplication nobypassrls
  password :'password';
select format('create database %I owner %I', :'role', :'role')
where not exists (select from pg_database where datname = :'role') \gexec
revoke all on database :"role" from public;
