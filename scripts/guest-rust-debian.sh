#!/usr/bin/env bash
# Builds a Rust toolchain for WebAssembly guests out of Debian 12's own packages, for machines where
# rustup cannot fetch the target. Run as root; scripts/guests.sh calls it when nothing simpler works.
#
#   scripts/guest-rust-debian.sh                   installs into /opt/wasm-rust, or $PREFIX
#   RUSTC=/opt/wasm-rust/bin/rustc cargo build --release --target wasm32-wasip1
#
# The first run takes about a minute of one core and 900 MB of disk, and fetches the packages and the
# crates that std depends on. A later run builds again only if a package or this script has changed.
set -euo pipefail

prefix=${PREFIX:-/opt/wasm-rust}
cargo=${CARGO:-cargo}
target=wasm32-wasip1

say() { echo "guest-rust-debian: $*"; }
fail() { echo "guest-rust-debian: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "installing packages needs root: run me with sudo"
grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || fail "this recipe is for Debian 12 (bookworm) only"
command -v "$cargo" > /dev/null || fail "cargo is not on the PATH: install it from https://rustup.rs"

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  # A build machine may have a package run of its own going: wait for its lock, but not for ever.
  local install=(apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300)
  add_backports
  apt-get update -qq
  # Debian keeps rustc-web recent, because browsers are built with it; plain rustc is years older.
  "${install[@]}" rustc-web rust-web-src > /dev/null
  # Backports' wasi-libc is of 2024. Bookworm's, of 2022, serves as well but reports a directory that
  # was not opened for the guest as errno 76 (not capable) instead of 44 (no such file).
  "${install[@]}" -t bookworm-backports wasi-libc > /dev/null || "${install[@]}" wasi-libc > /dev/null
  # The linker has to read the bitcode of this very compiler, so it comes from the same LLVM.
  llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  "${install[@]}" "lld-$llvm" > /dev/null
}

# Lets apt see the backports of the mirror it already uses. Debian ranks backports below everything
# else, so no package comes from there unless it is asked for.
add_backports() {
  local ours=/etc/apt/sources.list.d/bookworm-backports.sources
  local theirs=/etc/apt/sources.list.d/debian.sources
  if grep -qs bookworm-backports /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; then return; fi
  [ -e "$theirs" ] || return 0
  awk 'BEGIN { RS = ""; FS = "\n" }
       /Suites:[^\n]*bookworm( |\n|$)/ { sub(/Suites:[^\n]*/, "Suites: bookworm-backports"); print; exit }' \
    "$theirs" > "$ours"
}

# What the toolchain was made from: the same line means that it need not be made again.
fingerprint() {
  { /usr/bin/rustc -vV; dpkg-query -W wasi-libc "lld-$llvm" rust-web-src; cat "$0"; } | sha256sum
}

# Compiles std for wasm into $work/target. Unlike the packaged one it carries bitcode, which guests
# built with `lto` need. -Zbuild-std is a nightly flag: RUSTC_BOOTSTRAP allows it here and only here.
build_std() {
  mkdir -p "$work/empty/src"
  printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n' > "$work/empty/Cargo.toml"
  echo '#![no_std]' > "$work/empty/src/lib.rs"
  (cd "$work/empty" && env -u RUSTC_WRAPPER RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
    CARGO_TARGET_DIR="$work/target" "$cargo" build -q --release --target "$target" -Zbuild-std=std,panic_abort)
}

# Lays out a sysroot in $1: our std and Debian's libc for wasm, links to Debian's compiler for the rest.
lay_out() {
  local host; host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
  local lib=$1/lib/rustlib/$target/lib
  mkdir -p "$1/bin" "$1/lib/rustlib/$host/bin" "$lib/self-contained"
  ln -s "/usr/lib/rustlib/$host/lib" "$1/lib/rustlib/$host/lib"
  ln -s "/usr/lib/llvm-$llvm/bin/lld" "$1/lib/rustlib/$host/bin/rust-lld"
  printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" "$@"\n' "$prefix" > "$1/bin/rustc"
  chmod +x "$1/bin/rustc"

  cp "$work/target/$target/release/deps/"*.rlib "$lib"
  rm -f "$lib"/libempty-*.rlib
  local libc=/usr/lib/$target
  [ -d "$libc" ] || libc=/usr/lib/wasm32-wasi # where the package of 2022 has it
  cp "$libc"/{crt1-command.o,crt1-reactor.o,libc.a} "$lib/self-contained"
}

say "installing Debian's packages"
install_packages
if [ "$(cat "$prefix/fingerprint" 2> /dev/null)" = "$(fingerprint)" ]; then
  say "$prefix is up to date"
  exit 0
fi

say "building std for $target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build_std

# Made beside the old one and moved into place when whole, so that a run cut short leaves no ruin.
rm -rf "$prefix.new"
lay_out "$prefix.new"
fingerprint > "$prefix.new/fingerprint"
rm -rf "$prefix"
mv "$prefix.new" "$prefix"
say "ready: $prefix/bin/rustc"
