#!/bin/sh
# Puts promtool under .venv: the tests have it read the alert rules. No root, and nothing is installed.
#
# Where it cannot be had, says so and ends well: those tests then skip, loudly.
set -eu

cd "$(dirname "$0")/.."
target=.venv/bin/promtool
[ -x "$target" ] && exit 0
command -v promtool >/dev/null && exit 0

give_up() {
    printf 'warning: promtool is not here: %s\nhint: apt-get install prometheus\n' "$1" >&2
    rm -rf "$work"
    exit 0
}

work=$(mktemp -d)
command -v apt-get >/dev/null && command -v dpkg >/dev/null || give_up "this is no Debian"
[ -d .venv/bin ] || give_up "there is no .venv: make env"

printf 'fetching promtool ...\n' >&2
# As another user apt-get cannot write where root unpacks.
chmod 755 "$work"
(cd "$work" && apt-get download prometheus >/dev/null 2>&1) || give_up "apt-get could not download the package prometheus"
dpkg -x "$work"/prometheus_*.deb "$work/root" || give_up "the package cannot be unpacked"
cp "$work/root/usr/bin/promtool" "$target"
rm -rf "$work"
