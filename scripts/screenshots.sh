#!/usr/bin/env bash
# Makes the pictures of the status page in docs/: a cluster in this machine, some jobs, and Chromium.
#
#   WEIR=PATH       use this binary instead of target/release/weir
#   CHROMIUM=PATH   use this browser
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
weir=${WEIR:-$root/target/release/weir}
guests=$root/examples-wasm/target/wasm32-wasip1/release
docs=$root/docs

say() { echo "screenshots: $*"; }
skip() { say "SKIPPED: $*"; exit 0; }

browser=${CHROMIUM:-}
for name in chromium chromium-browser google-chrome; do
  [ -n "$browser" ] || browser=$(command -v "$name" || true)
done
[ -n "$browser" ] || skip "there is no chromium here"
[ -x "$weir" ] || skip "$weir is not there; run \`cargo build --release\`"
[ -f "$guests/spin.wasm" ] || skip "the guests are not built; run scripts/guests.sh"

scratch=$(mktemp -d)
server=
finish() {
  # Only what was started here; the jobs under way end with their cluster.
  [ -z "$server" ] || { kill "$server" 2> /dev/null || true; wait 2> /dev/null || true; }
  rm -rf "$scratch"
}
trap finish EXIT

"$weir" dev --ephemeral --listen 127.0.0.1:0 > "$scratch/out" 2> "$scratch/log" &
server=$!
for _ in $(seq 100); do
  url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$scratch/out" "$scratch/log" 2> /dev/null | head -1 || true)
  url=http://${url#*http://}
  [ "$url" = "http://" ] || break
  sleep 0.1
done
[ "$url" != "http://" ] || { cat "$scratch/log" >&2; exit 1; }
export WEIR_MASTER=$url

run() { "$weir" run "$@" > /dev/null 2>&1 || true; }
say "running jobs on $url, for half a minute"
run --name hello "$guests/echo.wasm" -- hello
run --name nightly-import --array 1200 "$guests/echo.wasm" -- imported
run --name unreachable "$guests/trap.wasm" -- unreachable
run --name calibrate --array 600 "$guests/spin.wasm" -- 3
# The last ones want more fuel than they have.
run --name sweep --array 60 --fuel 1150M "$guests/spin.wasm" -- '{index}'
# Under way while the pictures are made.
"$weir" run --name monte-carlo --array 60000 "$guests/spin.wasm" -- 2 > /dev/null 2>&1 &
"$weir" run --name render-frames --array 900 "$guests/spin.wasm" -- 25 > /dev/null 2>&1 &
sleep 20

# The picture $1 of the page $2, so wide and so high, light or dark.
picture() {
  local scheme=1
  [ "$5" = dark ] && scheme=0
  "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --user-data-dir="$scratch/browser-$1" --blink-settings=preferredColorScheme=$scheme \
    --window-size="$3,$4" --timeout=4000 --screenshot="$scratch/$1.png" "$url$2" \
    > /dev/null 2>> "$scratch/log"
  mv "$scratch/$1.png" "$docs/$1.png"
  say "docs/$1.png: $(($(stat -c %s "$docs/$1.png") / 1024)) KiB"
}
picture status-page-light / 1280 1260 light
picture status-page-dark / 1280 1260 dark
picture status-page-job /job/5 1280 1010 light
