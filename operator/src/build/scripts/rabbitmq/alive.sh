#!/bin/sh
. "$CONFIG/programs.sh"
exec rabbitmq-diagnostics --quiet ping
