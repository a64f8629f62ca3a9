"""One database against the schema that it should have, and two regions against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from accountdb.drift.canonical import load_canonical, read_from_sql
from accountdb.drift.compare import Drift, compare
from accountdb.drift.findings import Comparison, side_by_side
from accountdb.drift.read import read_structure
from accountdb.drift.scope import UNDECIDED, alike, decided
from accountdb.drift.structure import SCHEMAS, Structure, essential
from accountdb.errors import UsageError
from accountdb.pg.connect import Connection, session

SCHEMA_SIDE = "schema"
"""How ``verify`` calls the schema, beside the databases that it is held against."""


def verify(
    dsn: str | Mapping[str, str], schema_file: Path | None = None, *, scratch_dsn: str | None = None
) -> Comparison:
    """Compare a database with the canonical schema, or with the one in ``schema_file``.

    ``dsn`` is one database, which is called ``database``, or several by name. The first side of the
    result is ``schema``. What a schema file does not decide (extensions, replication, grants to
    roles) is not compared. Changes nothing in the databases. A file is read in a scratch database
    on the server of ``scratch_dsn``, any server of version 15 or later; on that of the first
    database when None. Raises UsageError for a file that cannot be read, is broken or is not plain
    SQL; MissingRightError when the file needs a scratch database and the role may not create one;
    ConnectError and AccountdbError for the server.
    """
    dsns = {"database": dsn} if isinstance(dsn, str) else dict(dsn)
    wanted = _text_of(schema_file) if schema_file is not None else None
    found = {}
    for name, one in dsns.items():
        with session(one, name=f"--{'dsn' if name == 'database' else name}") as conn:
            found[name] = read_structure(conn)
    if wanted is None:
        expected = load_canonical()
    else:
        expected = read_from_sql(scratch_dsn or next(iter(dsns.values())), wanted, name=str(schema_file))
    return against(expected, found)


def against(expected: Structure, found: Mapping[str, Structure]) -> Comparison:
    """Structures held against the one that a schema file makes; pure."""
    narrowed = {name: decided(side, expected) for name, side in {SCHEMA_SIDE: expected, **found}.items()}
    return side_by_side(narrowed, told=UNDECIDED)


def compare_regions(conn_a: Connection, conn_b: Connection, schemas: Sequence[str] = SCHEMAS) -> list[Drift]:
    """How the structure of region b differs from that of region a in what decides whether a row fits: empty
    when a row of one can be stored in the other. See ``structure.essential``.

    ``missing`` is in a and not in b, ``extra`` in b and not in a. Connections inside a transaction
    are read inside it, so that two open migrations can be compared before they commit.
    """
    sides, _ = alike({"a": read_structure(conn_a, schemas), "b": read_structure(conn_b, schemas)})
    return compare(essential(sides["a"]), essential(sides["b"]))


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"--schema {path}: {error.strerror or error}", hint="name a readable file of plain SQL"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--schema {path}: byte {error.start} is not UTF-8", hint="save it as UTF-8") from None
