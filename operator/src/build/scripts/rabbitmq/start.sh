#!/bin/sh
# Runs one RabbitMQ node of one ChatCluster.
#   CONFIG, SECRETS   folders of the settings, and of the cookie and the users
#   FIRST_NODE        the node that forms the cluster
set -eu
umask 077
. "$CONFIG/programs.sh"

# Erlang insists that nobody else may read it, and a mounted Secret is never so.
cookie="$HOME/.erlang.cookie"
rm -f "$cookie"
cp "$SECRETS/erlang-cookie" "$cookie"
chmod 0400 "$cookie"

# Nodes that start at once would each form a cluster of their own.
if [ "$RABBITMQ_NODENAME" != "$FIRST_NODE" ] && [ ! -d "$RABBITMQ_MNESIA_BASE/$RABBITMQ_NODENAME" ]; then
  until rabbitmq-diagnostics --quiet --node "$FIRST_NODE" check_running; do
    sleep 1
  done
fi
exec rabbitmq-server
