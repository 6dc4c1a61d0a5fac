#!/bin/sh
# Makes the users as they should be now. Not by ACL LOAD, which disconnects everybody.
#   SECRETS   folder of the users, and of the administrator's password
#   PORT      of the server
set -eu
REDISCLI_AUTH=$(cat "$SECRETS/admin")
export REDISCLI_AUTH
tell() {
  sed -n "$1" "$SECRETS/users.acl" | redis-cli -p "$PORT" --user admin
}
[ "$(tell 's/^user \([^ ]*\)/ACL SETUSER \1 reset/p' | grep -cFx OK)" -eq \
  "$(grep -c '^user ' "$SECRETS/users.acl")" ]
# Whoever goes is disconnected.
tell 's/^user \([^ ]*\) off$/CLIENT KILL USER \1/p' >/dev/null
