#!/usr/bin/env bash
# The demo: a picture of the Mandelbrot set drawn by 256 sandboxed tasks and put together by one more,
# and the words of real text counted, all on a cluster that lives as long as this script.
#
# `make demo` builds what it needs and runs it. Everything it writes is in target/demo.
#
#   WEIR=PATH     the binary [default: target/release/weir]
#   GUESTS=DIR    where the modules are [default: examples-wasm/target/wasm32-wasip1/release]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
weir=${WEIR:-${CARGO_TARGET_DIR:-target}/release/weir}
guests=${GUESTS:-examples-wasm/target/wasm32-wasip1/release}
out=target/demo
start_seconds=30
dev=

say() { printf '\ndemo: %s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

check_that_it_is_built() {
  [ -x "$weir" ] || fail "there is no $weir; \`make demo\` builds it"
  local guest
  for guest in mandelbrot png-stitch word-count; do
    [ -f "$guests/$guest.wasm" ] || fail "there is no $guests/$guest.wasm; \`make guests\` builds it"
  done
}

# A cluster of its own on a free port, so that the demo disturbs no other. Sets `dev` and WEIR_MASTER.
start_cluster() {
  # In a process group of its own (`set -m`), so that Ctrl-C does not reach it: told twice to stop, it
  # would end before it has cleaned up.
  set -m
  "$weir" dev --ephemeral --listen 127.0.0.1:0 > "$out/dev.log" 2>&1 &
  dev=$!
  set +m
  trap stop_cluster EXIT
  local address= waited=0
  until address=$(sed -n 's/.* listens on http:\/\/\([^,]*\),.*/\1/p' "$out/dev.log") && [ -n "$address" ]; do
    kill -0 "$dev" 2> /dev/null || fail "the cluster did not start: $(cat "$out/dev.log")"
    waited=$((waited + 1))
    [ "$waited" -le $((start_seconds * 10)) ] || fail "the cluster did not start in $start_seconds s; see $out/dev.log"
    sleep 0.1
  done
  export WEIR_MASTER=$address
}

stop_cluster() {
  [ -n "$dev" ] || return 0
  kill "$dev" 2> /dev/null || true
  wait "$dev" 2> /dev/null || true
  dev=
}

draw_picture() {
  "$weir" run --array 256 --out "$out/tiles" "$guests/mandelbrot.wasm"
  "$weir" run --in tiles="$out/tiles" --out "$out/picture" "$guests/png-stitch.wasm"
  mv "$out/picture/mandelbrot.png" "$out/mandelbrot.png"
  rmdir "$out/picture"
}

# Real text that is on this machine: Debian's licences, or those that came with Rust, or our own pages.
find_text() {
  local candidate
  for candidate in /usr/share/common-licenses "$(rustc --print sysroot 2> /dev/null)/share/doc/cargo"; do
    if [ -d "$candidate" ]; then
      echo "$candidate"
      return
    fi
  done
  echo docs
}

# One line for each job and one for all, from the JSON that `weir job ls` prints for programs.
print_summary() {
  "$weir" job ls --json > "$out/jobs.json"
  awk '
    function line(name, tasks, fuel, memory, seconds) {
      return sprintf("  %-12s %5d %10.2f G %8.1f MiB %8.2f s\n", name, tasks, fuel / 1e9, memory / 1048576, seconds)
    }
    # The fields of a job are indented by four; those of its stages are further in.
    /^    "[a-z_]+": / {
      key = $1; value = $2
      gsub(/[":]/, "", key); gsub(/[",]/, "", value)
      job[key] = value
    }
    /^  }/ {
      seconds = (job["ended_ms"] - job["submitted_ms"]) / 1000
      lines = line(job["name"], job["tasks"], job["fuel"], job["peak_memory_bytes"], seconds) lines
      tasks += job["tasks"]; fuel += job["fuel"]; all_seconds += seconds
      if (job["peak_memory_bytes"] + 0 > memory) memory = job["peak_memory_bytes"] + 0
    }
    END {
      printf "  %-12s %5s %12s %12s %10s\n", "job", "tasks", "fuel", "peak memory", "wall time"
      printf "%s%s", lines, line("all", tasks, fuel, memory, all_seconds)
    }' "$out/jobs.json"
}

check_that_it_is_built
rm -rf "$out"
mkdir -p "$out"
SECONDS=0
start_cluster
say "a cluster listens on $WEIR_MASTER; its log is $out/dev.log"

say "256 tasks draw a tile of the Mandelbrot set each, and one more puts the tiles together"
draw_picture

text=$(find_text)
say "one task counts the words of $text"
"$weir" run --in text="$text" "$guests/word-count.wasm" -- --top 5 > "$out/words.txt"
tail -n 6 "$out/words.txt"

say "summary (fuel: the instructions the guests ran; peak memory: of the largest task)"
print_summary
stop_cluster
say "done in $SECONDS s: look at $out/mandelbrot.png; the words of each file are in $out/words.txt"
