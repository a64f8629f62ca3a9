#!/bin/sh
# Makes sure that PostgreSQL 15 with pglogical is on this machine.
#
#   pglogical.sh          where it cannot be had, says so and ends well: the tests then skip, loudly
#   pglogical.sh --need   where it cannot be had, ends with status 2
set -eu

packages="postgresql-15 postgresql-15-pglogical"
library=/usr/lib/postgresql/15/lib/pglogical.so

[ -e "$library" ] && exit 0

give_up() {
    printf 'warning: PostgreSQL 15 with pglogical is not here: %s\nhint: apt-get install %s\n' "$1" "$packages" >&2
    [ "${1:-}" ] && [ "$need" = yes ] && exit 2
    exit 0
}

need=no
[ "${1:-}" = --need ] && need=yes

command -v apt-get >/dev/null || give_up "this is no Debian"
[ "$(id -u)" = 0 ] || give_up "installing it needs root"

printf 'installing %s ...\n' "$packages" >&2
# A first PostgreSQL package would also make and start a server of its own; nobody asked for one.
if [ ! -e /usr/share/postgresql-common/pg_wrapper ] && [ ! -e /etc/postgresql-common/createcluster.d/accountdb.conf ]; then
    mkdir -p /etc/postgresql-common/createcluster.d
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.d/accountdb.conf
fi
log=$(mktemp)
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages >>"$log" 2>&1
}
install || { apt-get update >>"$log" 2>&1; install; } || { tail -n 3 "$log" >&2; give_up "apt-get could not install it"; }
rm -f "$log"
[ -e "$library" ] || give_up "the package did not bring $library"
