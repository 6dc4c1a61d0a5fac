#!/bin/sh
# Leaves a cluster only when every queue keeps its quorum without this node, or
# after a minute, when they all go.
. "$CONFIG/programs.sh"
if [ "$NODES" -gt 1 ]; then
  timeout 60 rabbitmq-upgrade --quiet await_online_quorum_plus_one --timeout 60
  timeout 30 rabbitmq-upgrade --quiet drain
fi
exit 0
