#!/bin/sh
# Makes sure that Chromium is on this machine: the tests look at the dashboard with it.
#
# Where it cannot be had, says so and ends well: those tests then skip, loudly.
set -eu

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done

give_up() {
    printf 'warning: Chromium is not here: %s\nhint: apt-get install chromium\n' "$1" >&2
    exit 0
}

command -v apt-get >/dev/null || give_up "this is no Debian"
[ "$(id -u)" = 0 ] || give_up "installing it needs root"

printf 'installing chromium ...\n' >&2
log=$(mktemp)
# The Chinese pages need Chinese letters.
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-noto-cjk >>"$log" 2>&1
}
install || { apt-get update >>"$log" 2>&1; install; } || { tail -n 3 "$log" >&2; give_up "apt-get could not install it"; }
rm -f "$log"
