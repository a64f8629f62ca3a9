#!/bin/sh
# Makes .venv with accountdb and everything that its tests need. Run by make; can be run again.
set -eu

cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    say "error: accountdb needs Python 3.11 or later, none was found"
    say "hint: install it, or name it: make demo PYTHON=/path/to/python3.12"
    exit 2
}

make_venv() {
    if "$1" -m venv --clear .venv 2>.venv-error; then
        rm -f .venv-error
        return 0
    fi
    # Debian ships venv without its pip part; a package of its own brings it.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python3-venv ..."
        package="python3-venv"
        (apt-get update && apt-get install -y --no-install-recommends "$package") >/dev/null 2>&1 || true
        "$1" -m venv --clear .venv && rm -f .venv-error && return 0
    fi
    cat .venv-error >&2
    rm -f .venv-error
    say "error: $1 cannot make a virtual environment"
    say "hint: on Debian and Ubuntu: apt-get install python3-venv"
    exit 2
}

python=$(find_python)
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "making .venv with $("$python" --version) ..."
    make_venv "$python"
fi
say "installing accountdb and its tools into .venv ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
