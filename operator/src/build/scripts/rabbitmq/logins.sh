#!/bin/sh
# Makes the users of the services, and their rights, as they should be now.
#   CONFIG, SECRETS   folders of the settings, and of the cookie and the users
set -eu
. "$CONFIG/programs.sh"
# Without the server's cookie, Erlang would make one of its own in its place.
[ "$(cat "$HOME/.erlang.cookie")" = "$(cat "$SECRETS/erlang-cookie")" ]
rabbitmqctl --quiet import_definitions "$SECRETS/definitions.json"
# Whoever goes is disconnected. All in one call, as each starts a node of Erlang.
refused=$(sed 's/.*/<<"&">>/' "$SECRETS/refused" | paste -s -d , -)
rabbitmqctl --quiet eval "
  [ok = rabbit_auth_backend_internal:delete_user(User, <<\"chat-operator\">>)
   || User <- [$refused], rabbit_auth_backend_internal:lookup_user(User) =/= {error, not_found}]."
