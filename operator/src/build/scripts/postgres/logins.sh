#!/bin/sh
# Makes the roles and databases of the services as they should be now.
#   CONFIG, SECRETS   folders of the settings and of the passwords
#   PGHOST            folder of the Unix socket
#   CHAT, SERVICES    whose roles and databases
set -eu
. "$CONFIG/programs.sh"
PGPASSWORD=$(cat "$SECRETS/postgres")
export PGPASSWORD
for service in $SERVICES; do
  FIRST="$SECRETS/$service-1" SECOND="$SECRETS/$service-2" \
    psql --no-psqlrc --quiet --no-password --username=postgres --dbname=postgres \
    --set=ON_ERROR_STOP=1 --set="role=${CHAT}_$service" --file="$CONFIG/role.sql"
done
