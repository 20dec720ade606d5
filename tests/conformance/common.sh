# Functions that the conformance scripts h2spec, interop and autobahn share. They source this file in the repository's root
# and set $name, which error messages begin with. Linux only: each run uses an address of its own in 127.0.0.0/8, where no
# other process takes a port between the moment that the system names it and its use.

weir=${WEIR:-target/release/weir}
host=127.$((RANDOM % 200 + 10)).$((RANDOM % 256)).$((RANDOM % 254 + 1))
work=$(mktemp -d)
checks=0
PATH=$PWD/target/tools:$PATH
declare -A pids

passed() { checks=$((checks + 1)); echo "ok  $*"; }
fail() {
  echo "$name: FAILED: $*" >&2
  for log in "$work"/*.log; do
    [[ -e $log ]] || continue
    printf '%s\n' "--- the end of $(basename "$log")" >&2
    tail -n 15 "$log" >&2
  done
  exit 1
}

cleanup() {
  local running
  running=$(jobs -p)
  # shellcheck disable=SC2086
  [[ -z $running ]] || kill -KILL $running 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# Exits if a command is missing.
need() { # COMMAND...
  local missing=()
  for tool in "$@"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || { echo "$name: not installed: ${missing[*]}" >&2; exit 1; }
}

# Prints COUNT different free ports of the address HOST in one line.
free_ports() { # HOST COUNT
  python3 - "$@" <<'P'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[2]))]
for one in sockets:
    one.bind((sys.argv[1], 0))
print(*(one.getsockname()[1] for one in sockets))
P
}

accepts() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; } # HOST PORT
answers() { curl -sf -o /dev/null "$1"; } # URL

# Waits until a command succeeds. Fails if PROCESS ends before.
eventually() { # PROCESS COMMAND...
  local process=$1 deadline=$((SECONDS + 20))
  shift
  until "$@"; do
    kill -0 "${pids[$process]}" 2>/dev/null || fail "$process ended"
    ((SECONDS < deadline)) || fail "$process does not answer: $*"
    sleep 0.02
  done
}

# Starts `weir backend` and waits until it answers.
start_backend() { # NAME PORT OPTION...
  local backend=$1 port=$2
  shift 2
  "$weir" backend --host "$host" --port "$port" --name "$backend" "$@" >"$work/$backend.log" 2>&1 &
  pids[$backend]=$!
  eventually "$backend" answers "http://$host:$port/health"
}

# Starts Weir and waits until it is ready.
start_weir() { # CONFIG ADMIN-PORT
  "$weir" --config "$1" --admin-listen "$host:$2" >"$work/weir.log" 2>&1 &
  pids[weir]=$!
  eventually weir answers "http://$host:$2/readyz"
}

# Stops Weir with SIGTERM. The exit code must be 0.
stop_weir() {
  local code=0
  kill -TERM "${pids[weir]}" || fail "weir ended before its stop"
  wait "${pids[weir]}" || code=$?
  ((code == 0)) || fail "weir exited with $code"
}
