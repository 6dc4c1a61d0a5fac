# Debian's own names on PATH are wrappers that insist on the system's user.
if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
  PATH="/usr/lib/rabbitmq/bin:$PATH"
  export PATH
fi
