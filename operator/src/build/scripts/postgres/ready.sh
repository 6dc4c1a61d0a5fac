#!/bin/sh
# By the socket: there, it is asked for a password and goes away, while each try by
# network would be an error in the log.
. "$CONFIG/programs.sh"
exec pg_isready --quiet --username=postgres --dbname=postgres
