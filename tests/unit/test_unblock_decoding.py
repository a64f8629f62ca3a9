"""The decoders of both output plugins, with bytes that real slots gave, and what a log says of a failure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from accountdb.replication.failure import failure_in
from accountdb.setup.unblocking import pglogical_json, pgoutput
from accountdb.setup.unblocking.model import Operation, as_lsn, position
from accountdb.setup.unblocking.pgoutput import UnreadableError

# Of PostgreSQL 17.10: an INSERT and its commit, an UPDATE, a DELETE with its key.
_BEGIN = b"B\x00\x00\x00\x00\x01\x90>0\x00\x03\x03\xe7\xca\xdc\\S\x00\x00\x02\xf9"
_RELATION = (
    b"R\x00\x00@tpublic\x00admin_settings\x00d\x00\x08\x01uuid\x00\x00\x00\x0b\x86\xff\xff\xff\xff\x00module_key\x00\x00"
    b"\x00\x00\x19\xff\xff\xff\xff\x00role\x00\x00\x00\x00\x19\xff\xff\xff\xff\x00enabled\x00\x00\x00\x00\x10\xff\xff\xff\xff"
    b"\x00created_at\x00\x00\x00\x04\xa0\xff\xff\xff\xff\x00updated_at\x00\x00\x00\x04\xa0\xff\xff\xff\xff\x00version\x00\x00"
    b"\x00\x00\x14\xff\xff\xff\xff\x00origin_node\x00\x00\x00\x00\x19\xff\xff\xff\xff"
)
_ROW = (
    b"t\x00\x00\x00$af5a2f9c-9127-45a9-90a6-f4a8403747c8t\x00\x00\x00\x02mmt\x00\x00\x00\x01rt\x00\x00\x00\x01t"
    b"t\x00\x00\x00\x1d2026-11-23 03:16:45.896583+00t\x00\x00\x00\x1d2026-11-23 03:16:45.896583+00t\x00\x00\x00\x010"
    b"t\x00\x00\x00\x0bnode_global"
)
_INSERT = b"I\x00\x00@tN\x00\x08" + _ROW
_UPDATE = b"U\x00\x00@tN\x00\x08" + _ROW
_DELETE = b"D\x00\x00@tK\x00\x08t\x00\x00\x00$af5a2f9c-9127-45a9-90a6-f4a8403747c8nnnnnnn"
_COMMIT = b"C\x00\x00\x00\x00\x00\x01\x90>0\x00\x00\x00\x00\x01\x90>`\x00\x03\x03\xe7\xca\xdc\\S"
_KEY = "af5a2f9c-9127-45a9-90a6-f4a8403747c8"


def test_a_transaction_of_pgoutput() -> None:
    (found,) = pgoutput.transactions([_BEGIN, _RELATION, _INSERT, _UPDATE, _DELETE, _COMMIT])
    assert (found.xid, found.finished, found.end) == (761, "0/1903E30", "0/1903E60")
    assert found.committed_at == datetime(2026, 11, 23, 3, 16, 45, 899859, tzinfo=UTC)
    insert, update, delete = found.changes
    assert [change.operation for change in found.changes] == [Operation.INSERT, Operation.UPDATE, Operation.DELETE]
    assert insert.name == ("public", "admin_settings")
    assert insert.content == {
        "uuid": _KEY,
        "module_key": "mm",
        "role": "r",
        "enabled": True,
        "created_at": "2026-11-23 03:16:45.896583+00",
        "updated_at": "2026-11-23 03:16:45.896583+00",
        "version": 0,
        "origin_node": "node_global",
    }
    assert update.key is None
    assert (delete.row, delete.content, delete.uuid) == (None, {"uuid": _KEY}, _KEY)


def test_a_large_column_that_did_not_change_is_not_there() -> None:
    row = _UPDATE.replace(b"t\x00\x00\x00\x02mm", b"u")
    (found,) = pgoutput.transactions([_BEGIN, _RELATION, row, _COMMIT])
    assert "module_key" not in found.changes[0].content
    assert found.changes[0].content["role"] == "r"


def test_two_transactions_and_one_that_does_not_end() -> None:
    whole = [_BEGIN, _RELATION, _INSERT, _COMMIT]
    found = list(pgoutput.transactions([*whole, _BEGIN, _DELETE, _COMMIT, _BEGIN, _INSERT]))
    assert [len(one.changes) for one in found] == [1, 1]


@pytest.mark.parametrize(
    "messages",
    [
        [_COMMIT],
        [_BEGIN, _INSERT],
        [_BEGIN, _RELATION, _INSERT[:40]],
        [b"X"],
        [b""],
        [_BEGIN, _RELATION, _INSERT.replace(b"N\x00\x08", b"N\x00\x07")],
        [_BEGIN, _RELATION, _INSERT.replace(b"t\x00\x00\x00\x02mm", b"b\x00\x00\x00\x02mm")],
    ],
)
def test_what_is_no_such_message_is_said(messages: list[bytes]) -> None:
    with pytest.raises(UnreadableError) as error:
        list(pgoutput.transactions(messages))
    assert "node_global" not in str(error.value), "no value is quoted"


_START = b'{"action":"S", "params": {"max_proto_version":"1","coltypes":"f"}}'
_J_BEGIN = (
    b'{"action":"B", "has_catalog_changes":"f", "xid":"744", "first_lsn":"0/1A25490",'
    b' "commit_time":"2026-11-23 03:16:48.941944+00"}'
)
_J_INSERT = (
    b'{"action":"I","relation":["public","users"],"newtuple":{"uuid":"10a467dd-a6ff-4f58-94f5-6e154ccc4e38",'
    b'"groups":["a", {"newtuple": 1.50}],"level":12345678901234567890.10,"email":null}}'
)
_J_DELETE = b'{"action":"D","relation":["public","users"],'
_J_DELETE += b'"oldtuple":{"uuid":"10a467dd-a6ff-4f58-94f5-6e154ccc4e38","email":null}}'
_J_COMMIT = b'{"action":"C", "final_lsn":"0/1A25AB8", "end_lsn":"0/1A25AE8"}'


def test_a_transaction_of_pglogical() -> None:
    (found,) = pglogical_json.transactions([_START, _J_BEGIN, _J_INSERT, _J_DELETE, _J_COMMIT])
    assert (found.xid, found.finished, found.end) == (744, "0/1A25AB8", "0/1A25AE8")
    insert, delete = found.changes
    assert insert.row is not None
    assert insert.row.json is not None
    assert '"level":12345678901234567890.10' in insert.row.json, "no digit is lost"
    assert insert.content["groups"] == ["a", {"newtuple": 1.5}]
    assert delete.uuid == "10a467dd-a6ff-4f58-94f5-6e154ccc4e38"
    assert delete.content == {"uuid": delete.uuid}


def test_a_name_that_pglogical_writes_as_it_is() -> None:
    odd = 'we"ird.%s \\ {x} 名'
    message = (
        b'{"action":"I","relation":["public","'
        + odd.encode()
        + b'"],"newtuple":{"uuid":"1","a\\"b":"],\\"newtuple\\":"}}'
    )
    (found,) = pglogical_json.transactions([_J_BEGIN, message, _J_COMMIT])
    assert found.changes[0].name == ("public", odd)
    assert found.changes[0].content == {"uuid": "1", 'a"b': '],"newtuple":'}


@pytest.mark.parametrize("message", [b"no json", b"[]", b'{"action":"Z"}', b'{"action":"I"}', _J_COMMIT])
def test_what_is_no_message_of_pglogical_is_said(message: bytes) -> None:
    with pytest.raises(UnreadableError):
        list(pglogical_json.transactions([message]))


def test_positions() -> None:
    assert position("1/A0") == 0x1000000A0
    assert as_lsn(position("16/B374D848")) == "16/B374D848"
    assert position("0/FF") < position("1/0")


_PREFIX = "2026-11-23 03:16:47.460 UTC [7739] logical replication apply worker "
_NATIVE_LOG = f"""\
{_PREFIX}ERROR:  new row for relation "users" violates check constraint "no_b2"
{_PREFIX}DETAIL:  Failing row contains (07c7b112, b2, a_secret).
{_PREFIX}CONTEXT:  processing remote data for replication origin "pg_16648" during message type "INSERT"\
 for replication target relation "public.users" in transaction 761, finished at 0/1903E30
2026-11-23 03:16:48.421 UTC [6856] postmaster LOG:  background worker (PID 7743) exited with exit code 1
2026-11-23 03:16:49.421 UTC [6857] client backend ERROR:  duplicate key
2026-11-23 03:16:49.421 UTC [6857] client backend STATEMENT:  INSERT INTO x
"""
_PGLOGICAL_LOG = """\
2026-11-23 03:16:48.985 UTC [7576] pglogical apply 16385:676127836 ERROR:  new row violates check constraint "no_b2"
2026-11-23 03:16:48.985 UTC [7576] pglogical apply 16385:676127836 DETAIL:  Failing row contains (b2, a_secret).
2026-11-23 03:16:48.985 UTC [7576] pglogical apply 16385:676127836 CONTEXT:  apply INSERT from remote\
 relation public.users in commit before 0/1A25AB8, xid 744\
 committed at 2026-11-23 03:16:48.941944+00 (action #3) from node replorigin 1
"""


def test_what_a_worker_says_of_its_transaction() -> None:
    native = failure_in(_NATIVE_LOG, "pg_16648", 7)
    assert native is not None
    assert (native.table, native.xid, native.finished) == ("public.users", 761, "0/1903E30")
    assert native.message == 'new row for relation "users" violates check constraint "no_b2"'
    pglogical = failure_in(_PGLOGICAL_LOG, "pgl_account_node_global_sub", 1)
    assert pglogical is not None
    assert (pglogical.table, pglogical.xid, pglogical.finished) == ("public.users", 744, "0/1A25AB8")
    assert "a_secret" not in repr(native) + repr(pglogical)


def test_what_another_worker_says_is_not_taken() -> None:
    assert failure_in(_NATIVE_LOG, "pg_16649", 7) is None
    assert failure_in(_PGLOGICAL_LOG, "pgl_account_node_global_sub", 2) is None
    assert failure_in("", "pg_16648", 1) is None


def test_a_table_with_any_name() -> None:
    odd = 'public.we"ird" in transaction 1'
    log = _NATIVE_LOG.replace("public.users", odd)
    found = failure_in(log, "pg_16648", 7)
    assert found is not None
    assert (found.xid, found.finished) == (761, "0/1903E30")


def test_a_context_without_a_position() -> None:
    line = f'{_PREFIX}ERROR:  stopped\n{_PREFIX}CONTEXT:  processing remote data for replication origin "pg_16648"\n'
    found = failure_in(line, "pg_16648", 7)
    assert found is not None
    assert (found.message, found.finished, found.xid) == ("stopped", None, None)
