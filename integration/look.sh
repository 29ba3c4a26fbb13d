#!/usr/bin/env bash
# Shows what a person sees of rinitctl on terminals of 80 and 200 columns (or those that are named):
# integration/look.sh [COLUMNS...]. Needs tmux; builds nothing, so run cargo build before.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(ls -d target/*/debug | head -n 1)
dir=$(mktemp -d)
export PATH="$PWD/$bin:$PATH" RINIT_SOCKET="$dir/socket"
mux() { tmux -L "look-$$" "$@"; }
clean() {
  mux kill-server 2>/dev/null || true
  kill "$pid" 2>/dev/null && wait "$pid" || true
  rm -r "$dir"
}

unit() { # NAME SCRIPT LINES-OF-[Service] [LINES-OF-[Unit]]
  printf '[Unit]\nDescription = "This is %s"\n%s\n[Service]\nExecStart = [["sh", "-c", %s]]\n%s\n' \
    "$1" "${4-}" "'''$2'''" "$3" >"$dir/units/$1.toml"
}
mkdir "$dir/units"
unit 10-migrate 'echo 3 migrations applied' 'Type = "oneshot"'
unit web 'echo listening; while sleep 3; do echo GET / 200; done' $'Instances = 3\nMemoryMax = "64M"'
unit report 'echo "no template: monthly.txt" >&2; exit 4' '' 'FailureAction = "none"'
unit sync 'echo connect: refused; exit 3' $'Restart = "always"\nRestartSec = "30s"'
unit chatty 'while :; do printf "\033[32mINFO\033[0m\t%0250d\n" 1; sleep 2; done' ''

rinit --units "$dir/units" --socket "$RINIT_SOCKET" >"$dir/log" 2>&1 &
pid=$!
trap clean EXIT
until [ -S "$RINIT_SOCKET" ]; do kill -0 "$pid" && sleep 0.1; done
rinitctl wait report --for failed
rinitctl wait web

look() { # COLUMNS COMMAND
  mux new-session -d -s look -x "$1" -y 30 "$2; exec sleep 60"
  sleep 2 # a person looks when it has been drawn
  printf '\n%s columns: %s\n' "$1" "$2"
  printf '%*s\n' "$1" '' | tr ' ' '='
  printf '%s\n' "$(mux capture-pane -p -t look)"
  mux kill-session -t look
}
for columns in "${@:-80 200}"; do
  for width in $columns; do
    for command in 'status' 'status web' 'status sync' 'status chatty -n 3' 'logs -n 6' 'top'; do
      look "$width" "rinitctl $command"
    done
  done
done
