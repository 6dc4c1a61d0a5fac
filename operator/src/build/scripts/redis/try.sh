# Without a right password, redis-cli goes on as nobody.
try() {
  said=$(REDISCLI_AUTH=$2 redis-cli -h "$STORE_HOST" -p "$STORE_PORT" --user "$1" ACL WHOAMI 2>&1)
  case $said in
  "$1") echo accepted ;;
  *WRONGPASS*) echo refused ;;
  *) echo "$said" ;;
  esac
}
