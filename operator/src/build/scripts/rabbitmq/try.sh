# No client comes with the server, but the language that one can be written in does.
try() {
  USER=$1 PASSWORD=$2 escript "$CONFIG/try.escript"
}
