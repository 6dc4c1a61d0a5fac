#!/bin/sh
# A "fast" shutdown. SIGTERM, which some images are stopped with, would wait until
# every client has gone by itself.
kill -INT "$(head -n 1 "$PGDATA/postmaster.pid")"
