#!/bin/sh
# Whether the node runs. A new cluster must be complete first: a quorum queue is
# spread over the nodes that are there when it is declared.
#   NODES   how many nodes there should be
set -eu
. "$CONFIG/programs.sh"

rabbitmq-diagnostics --quiet check_running
complete="$RABBITMQ_MNESIA_BASE/complete"
if [ ! -e "$complete" ]; then
  running=$(rabbitmq-diagnostics --quiet --formatter=json cluster_status |
    grep -o '"running_nodes":\[[^]]*\]' | grep -o '@' | wc -l)
  [ "$running" -ge "$NODES" ]
  : >"$complete"
fi
