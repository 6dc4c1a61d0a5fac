#!/bin/sh
# Makes the users of the services, and their rights, as they should be now.
#   CONFIG, SECRETS   folders of the settings, and of the cookie and the users
set -eu
. "$CONFIG/programs.sh"
# Without the server's cookie, Erlang would make one of its own in its place.
[ "$(cat "$HOME/.erlang.cookie")" = "$(cat "$SECRETS/erlang-cookie")" ]
rabbitmqctl --quiet import_definitions "$SECRETS/definitions.json"
# Whoever goes is disconnected.
users=$(rabbitmqctl --silent list_users | cut -f 1)
while read -r user; do
  if echo "$users" | grep -qFx -- "$user"; then
    # Else it would read the names of the others.
    rabbitmqctl --quiet delete_user "$user" </dev/null
  fi
done <"$SECRETS/refused"
