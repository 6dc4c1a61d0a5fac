-- Run at every start, for the whole server.
\set password `cat "$PASSWORD_FILE"`
-- No password in the log, even if a statement fails.
set log_min_error_statement = panic;
alter role postgres password :'password';
revoke connect on database postgres, template1 from public;
