. "$CONFIG/programs.sh"
try() {
  said=$(PGPASSWORD=$2 LC_ALL=C psql --no-psqlrc --no-password --tuples-only --no-align \
    --host="$STORE_HOST" --port="$STORE_PORT" --username="$1" --dbname="$3" \
    --command="select 'accepted'" 2>&1)
  case $said in
  *"password authentication failed"* | *"is not permitted to log in"*) echo refused ;;
  *) echo "$said" ;;
  esac
}
