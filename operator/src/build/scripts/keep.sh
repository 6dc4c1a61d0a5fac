#!/bin/sh
# Tells the running store who may log in, now and whenever the mounted Secret has
# changed: no restart, and nobody is disconnected who may stay.
#   CONFIG, SECRETS   folders of the settings and of the passwords
set -u
trap 'exit 0' TERM INT
told=
while :; do
  wanted=$(cat "$SECRETS"/* | sha256sum)
  if [ "$wanted" != "$told" ] && /bin/sh "$CONFIG/logins.sh"; then
    told=$wanted
    echo "the store knows the logins"
  fi
  sleep 5 &
  wait $!
done
