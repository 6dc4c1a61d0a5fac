#!/bin/sh
# Ends when the store lets in and refuses whom it should.
#   CONFIG, SECRETS          folders of the settings and of the logins
#   STORE_HOST, STORE_PORT   where the store is
#   CHAT                     the name of the ChatCluster
set -u
trap 'exit 1' TERM INT
# Defines `try USER PASSWORD DATABASE`, which prints "accepted", "refused", or what
# is in the way.
. "$CONFIG/try.sh"

all_are() {
  while read -r user password database; do
    said=$(try "$user" "$password" "$database" 2>&1 </dev/null)
    if [ "$said" != "$1" ]; then
      echo "$user is to be $1, and the store says: $said"
      return 1
    fi
  done <"$SECRETS/$1"
}

until all_are accepted && all_are refused; do
  sleep 2 &
  wait $!
done
