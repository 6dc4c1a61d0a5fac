#!/bin/sh
# Runs PostgreSQL for one ChatCluster: makes the data folder when there is none,
# and at every start the roles and one database for each service.
#   CONFIG, SECRETS   folders of the settings and of the passwords
#   PGDATA, PGHOST    folders of the data and of the Unix socket
#   CHAT, SERVICES    whose roles and databases to make
set -eu
umask 077
. "$CONFIG/programs.sh"

if [ ! -d "$PGDATA" ]; then
  # Beside it and then renamed, so that a crash leaves no half of it.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --pwfile="$SECRETS/postgres" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  mv "$PGDATA.new" "$PGDATA"
fi
# A volume that is mounted with a group may have opened it to that group.
chmod 0700 "$PGDATA"

settings="-c config_file=$CONFIG/postgresql.conf"

# Nobody but this script can connect yet: not by network, and not by the socket in
# PGHOST, where the container beside this one would tell of logins at the same time.
first=$(mktemp -d)
pg_ctl --wait --timeout=3600 --silent --options="$settings -c listen_addresses= \
  -c unix_socket_directories=$first -c hba_file=$CONFIG/first_hba.conf" start
PGHOST="$first" PASSWORD_FILE="$SECRETS/postgres" psql --no-psqlrc --quiet \
  --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 --file="$CONFIG/server.sql"
PGHOST="$first" /bin/sh "$CONFIG/logins.sh"
pg_ctl --wait --mode=fast --silent stop
rm -rf "$first"

# shellcheck disable=SC2086 # several words
exec postgres $settings -c "unix_socket_directories=$PGHOST" -c "hba_file=$CONFIG/pg_hba.conf"
