#!/bin/sh
# Brings Debian's libfaketime into .venv, for the test with a clock that is off. Needs no root.
# Where it cannot be had, says so and ends well: the test then skips, loudly.
set -eu

cd "$(dirname "$0")/.."
target=.venv/faketime

[ -n "$(find "$target" -name 'libfaketime.so.1' 2>/dev/null)" ] && exit 0

give_up() {
    printf 'warning: libfaketime is not here: %s\nhint: apt-get download libfaketime\n' "$1" >&2
    exit 0
}

command -v apt-get >/dev/null && command -v dpkg >/dev/null || give_up "this is no Debian"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# apt drops its rights while it downloads, where it can.
chmod 755 "$folder"
(cd "$folder" && apt-get download libfaketime >log 2>&1) || give_up "$(tail -n 1 "$folder/log")"
mkdir -p "$target"
dpkg -x "$folder"/libfaketime_*.deb "$target" || give_up "its package cannot be unpacked"
