"""The conflict resolver that a running apply worker of pglogical has.

A worker takes pglogical.conflict_resolution when it begins, and never again: no reload reaches it, and no
view shows what it has. What can be proved from outside: the value that a worker which began now would have, and
whether anything that could have set another one was touched since the running one began.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from accountdb.doctor.hints import psql
from accountdb.doctor.region import FILE, Here
from accountdb.health import commands
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.replication.model import Mode
from accountdb.sql import block

_RIGHT = "apply_remote"
_NAME = "pglogical.conflict_resolution"
# Files carry whole seconds.
_BLUR = timedelta(seconds=2)
_CHANGED = re.compile(rf'LOG:  parameter "{re.escape(_NAME)}" (?:changed to "(?P<value>[^"]*)"|removed)')
_BEGAN = "LOG:  starting apply for subscription "


@dataclass(frozen=True)
class Setting:
    """What a worker that began now would have, and when that may have been set last.

    ``value`` is None where another setting of this session's own hides it. ``of_role`` and ``of_database`` say where it
    stands, none of them: in the files. ``set_at`` is of a role's or database's setting, ``files_at`` of the files
    (None: not to be seen), ``loaded_at`` when the files were read last.
    """

    value: str | None
    of_role: bool
    of_database: bool
    set_at: datetime | None
    loaded_at: datetime
    files_at: datetime | None


@dataclass(frozen=True)
class Worker:
    """The apply worker of one subscription, and when it began; None: none runs, or this role may not see it."""

    subscription: str
    began: datetime | None


def look(conn: Connection, here: Here) -> Iterator[Finding]:
    """The resolver of every subscription that is enabled."""
    if here.mode is not Mode.PGLOGICAL:
        return
    if here.facts.conflict_resolution == "":
        yield here.look.unseen("conflict_resolution", "pglogical is not preloaded")
        return
    try:
        named = conn.execute(block(FILE, "subscription_ids")).fetchall()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        setting = here.facts.conflict_resolution
        if setting != _RIGHT:
            yield here.look.failed("conflict_resolution", f"{_NAME} is {setting}", remedy=_mend(here, None, ()))
        else:
            yield here.look.unseen("conflict_resolution", "only an administrator sees the workers", "worker")
        return
    began: dict[int, datetime | None] = dict(conn.execute(block(FILE, "workers")).fetchall())
    workers = [Worker(name, began.get(ident)) for ident, name in named]
    yield from judge(here, _setting(conn), workers, _log(conn))


def _setting(conn: Connection) -> Setting:
    row = conn.execute(block(FILE, "resolver")).fetchone()
    assert row is not None
    own, of_role, of_database, set_at, general, shown, loaded_at = row
    files_at = None
    try:
        found = conn.execute(block(FILE, "files_changed")).fetchone()
        files_at = found[0] if found else None
    except psycopg.errors.InsufficientPrivilege:
        pass
    value = own if own is not None else general if shown else None
    return Setting(value, bool(of_role), bool(of_database), set_at, loaded_at, files_at)


def _log(conn: Connection) -> tuple[str, ...]:
    try:
        return tuple(line for (line,) in conn.execute(block(FILE, "resolver_log")))
    except psycopg.Error:
        return ()


def judge(here: Here, setting: Setting, workers: Sequence[Worker], log: Sequence[str]) -> Iterator[Finding]:
    """What can be said of each worker. Pure. ``log`` are beginnings and changes, oldest first."""
    if not workers:
        value = setting.value or here.facts.conflict_resolution
        if value == _RIGHT:
            yield here.look.passed("conflict_resolution", f"{value}; no worker yet")
        else:
            yield here.look.failed("conflict_resolution", f"{_NAME} is {value}", remedy=_mend(here, setting, ()))
    for worker in workers:
        yield _judge(here, setting, worker, log)


def _judge(here: Here, setting: Setting, worker: Worker, log: Sequence[str]) -> Finding:
    look, name = here.look, worker.subscription
    known = _since(setting, worker)
    if setting.value is None:
        why = "this role has a setting of its own, which hides that of the workers; ask as another superuser"
        return look.unseen("conflict_resolution", why, name)
    if setting.value != _RIGHT:
        which = "the running worker of {} has it"
        if worker.began is None:
            which = "{} has no running worker; the next one has it"
        elif not known:
            which = "the running worker of {} began before that and may still have another; the next one has it"
        text = f"{_NAME} is {setting.value}, which overrules the guards: {which.format(name)}"
        return look.failed("conflict_resolution", text, name, remedy=_mend(here, setting, (name,)))
    if worker.began is None:
        return look.unseen("conflict_resolution", f"set to {_RIGHT}; {name} has no running worker", name)
    began = f"{worker.began:%Y-%m-%d %H:%M:%S} UTC"
    changed = _changed_after_begin(log, name)
    if known or changed is False:
        return look.passed("conflict_resolution", f"{_RIGHT} in the worker of {name}, which runs since {began}", name)
    again = Remedy("", (commands.resume(here.name, name, ("", name)),))
    if changed:
        text = f"the running worker of {name} does not have the setting of now, {_RIGHT}"
        cause = f"it runs since {began}, and the server's log says that {_NAME} was changed after that"
        return look.failed("conflict_resolution", text, name, cause, again)
    text = f"set to {_RIGHT}, and whether the running worker of {name} has it cannot be proved"
    cause = f"it runs since {began}, and the configuration was changed after that"
    return look.warn("conflict_resolution", text, name, cause, again)


def _since(setting: Setting, worker: Worker) -> bool:
    """Whether nothing that could have set another value was touched since the worker began."""
    if worker.began is None:
        return False
    if setting.of_role or setting.of_database:
        return setting.set_at is not None and setting.set_at < worker.began
    untouched = setting.files_at is not None and setting.files_at + _BLUR < worker.began
    return setting.loaded_at < worker.began or untouched


def _changed_after_begin(log: Sequence[str], subscription: str) -> bool | None:
    """By the server's log; None where that does not reach back to the worker's beginning."""
    began = [at for at, line in enumerate(log) if line.partition(_BEGAN)[2].strip() == subscription]
    if not began:
        return None
    return any(_CHANGED.search(line) for line in log[began[-1] + 1 :])


def _mend(here: Here, setting: Setting | None, subscriptions: Sequence[str]) -> Remedy:
    """Set it where it stands, then begin the workers anew."""
    statement = f"ALTER SYSTEM SET {_NAME} = '{_RIGHT}'"
    database = sql.Identifier(here.facts.role.database).as_string()
    if setting is not None and setting.of_role:
        scope = f" IN DATABASE {database}" if setting.of_database else ""
        statement = f"DO $$BEGIN EXECUTE format('ALTER ROLE %s{scope} RESET {_NAME}', 10::regrole::text); END$$"
    elif setting is not None and setting.of_database:
        statement = f"ALTER DATABASE {database} RESET {_NAME}"
    again = [commands.resume(here.name, name, ("", name)) for name in subscriptions]
    return Remedy("a superuser runs it", (*psql(here.name, statement, "SELECT pg_reload_conf()"), *again))
