#!/usr/bin/env bash
# Builds the example guests to examples-wasm/target/wasm32-wasip1/release/*.wasm, and finds or installs
# a compiler for them first. Nothing is compiled again unless it has changed.
#
#   WEIR_WASM_RUSTC=PATH   use this rustc, which must have the wasm32-wasip1 target
#   WEIR_YES=1 (or CI)     install Debian packages, if it comes to that, without asking
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guests=$(dirname "$scripts")/examples-wasm
target=wasm32-wasip1
debian_rustc=/opt/wasm-rust/bin/rustc

say() { echo "guests: $*"; }
fail() { echo "guests: $*" >&2; exit 1; }

# Whether the compiler $1 can build a guest. It is asked for a whole one: a target's directory may be
# there and yet not match the compiler, after an upgrade, or lack its linker.
can_build() {
  command -v "$1" > /dev/null || return 1
  echo 'fn main() {}' | "$1" --edition 2024 --target "$target" --crate-name probe -o "$scratch/probe.wasm" - 2> /dev/null
}

# The default toolchain, given the target by rustup. A closed network may swallow the request instead
# of refusing it, so there is a limit; and refused or not, there is another way to go on.
rustup_adds_target() {
  command -v rustup > /dev/null || return 1
  say "adding $target with rustup"
  timeout 60 rustup --quiet target add "$target" > /dev/null 2>&1 && can_build rustc
}

debian_builds_toolchain() {
  grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || return 1
  [ "$(id -u)" = 0 ] || return 1
  may_install_packages || return 1
  "$scripts/guest-rust-debian.sh" && can_build "$debian_rustc"
}

may_install_packages() {
  if [ -n "${CI:-}" ] || [ "${WEIR_YES:-}" = 1 ]; then return 0; fi
  if [ ! -t 0 ] || [ ! -t 1 ]; then return 1; fi
  local answer
  read -r -p "guests: no compiler for $target here; install Debian's packages for one (900 MB)? [y/N] " answer
  [[ $answer == [yY]* ]]
}

# Sets `compiler`. What is here already comes first, so that a second run needs no network.
find_compiler() {
  if [ -n "${WEIR_WASM_RUSTC:-}" ]; then
    can_build "$WEIR_WASM_RUSTC" || fail "WEIR_WASM_RUSTC=$WEIR_WASM_RUSTC cannot compile for $target"
    compiler=$WEIR_WASM_RUSTC
  elif can_build rustc; then
    compiler=rustc
  elif can_build "$debian_rustc"; then
    compiler=$debian_rustc
  elif rustup_adds_target; then
    compiler=rustc
  elif debian_builds_toolchain; then
    compiler=$debian_rustc
  else
    fail "no Rust compiler here can build for $target. Do one of these, then run me again:
  - with rustup and a network:  rustup target add $target
  - on Debian 12:               sudo env \"PATH=\$PATH\" \"RUSTUP_HOME=\$HOME/.rustup\" scripts/guest-rust-debian.sh
  - with a compiler elsewhere:  export WEIR_WASM_RUSTC=/path/to/rustc"
  fi
}

command -v cargo > /dev/null || fail "cargo is not on the PATH: install Rust from https://rustup.rs"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$guests"
find_compiler
# Flags and wrappers meant for the machine's own programs (a linker, a CPU) would not fit guests.
env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS RUSTC="$compiler" \
  cargo build --quiet --release --locked --target "$target" --target-dir "$guests/target"
say "modules are in examples-wasm/target/$target/release"
