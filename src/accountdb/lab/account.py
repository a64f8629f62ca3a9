"""The account that the servers run as: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accountdb.errors import AccountdbError

# Tried in this order when root starts a lab.
UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An operating system account. ``switch``: the keeper is root and servers change to it."""

    name: str
    uid: int
    gid: int
    switch: bool


def choose() -> Account:
    """The account that servers run as: ours, or, for root, an unprivileged one.

    Raises AccountdbError where there is none that PostgreSQL accepts.
    """
    uid = os.geteuid()
    if uid != 0:
        return _own(uid)
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise AccountdbError(
        "PostgreSQL does not run as root, and this machine has neither an account 'postgres' nor 'nobody'",
        hint="useradd --system postgres, or run as an ordinary user",
    )


def _own(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise AccountdbError(
            f"user id {uid} has no entry in the password file, and PostgreSQL does not run without one",
            hint=f"add one (useradd --uid {uid} lab), or run as a user that has one, or as root",
        ) from None
    return Account(entry.pw_name, uid, os.getegid(), switch=False)


def can(account: Account, check: Callable[[], bool]) -> bool:
    """What ``check`` says when ``account`` asks.

    The question is put from a process of that account, so that mode bits, access lists and mount
    options all count. Call it from a process with one thread. Raises AccountdbError where this
    process may not change to the account.
    """
    if not account.switch:
        return check()
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            code = 0 if check() else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, 1):
        raise AccountdbError(
            f"root may not change to the account {account.name!r} here",
            hint="run as an ordinary user, or give this container the capabilities SETUID and SETGID",
        )
    return code == 0


def can_enter(account: Account, folder: Path) -> bool:
    """Whether ``account`` can reach what is inside ``folder``."""
    return can(account, lambda: os.access(folder, os.X_OK))


def give(path: Path, account: Account) -> None:
    """Make ``account`` the owner of ``path`` itself."""
    if account.switch:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
