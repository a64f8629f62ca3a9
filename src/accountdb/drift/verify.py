"""One database against the schema that it should have, and two regions against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accountdb.drift.canonical import load_canonical, read_from_sql
from accountdb.drift.compare import Drift, compare
from accountdb.drift.kinds import KINDS, NOT_COMPARED, NotCompared
from accountdb.drift.read import read_structure
from accountdb.drift.structure import SCHEMAS, Structure
from accountdb.errors import UsageError
from accountdb.pg.connect import Connection, session

_NAMED = 3


@dataclass(frozen=True)
class VerifyReport:
    """What a comparison with a schema found.

    ``compared`` counts, per kind, the objects that either side has. ``not_compared`` says what
    was not looked at: first the single objects that are there and were left out, then the kinds.
    """

    drifts: tuple[Drift, ...]
    compared: Mapping[str, int]
    not_compared: tuple[NotCompared, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not self.drifts


def verify(dsn: str, schema_file: Path | None = None, *, scratch_dsn: str | None = None) -> VerifyReport:
    """Compare the database of ``dsn`` with the canonical schema, or with the one in ``schema_file``.

    Changes nothing in that database. A file is read in a scratch database on the server of
    ``scratch_dsn``, any server of version 15 or later; on the same server when None. Raises
    UsageError for a file that cannot be read, is broken or is not plain SQL; MissingRightError
    when the file needs a scratch database and the role may not create one; ConnectError and
    AccountdbError for the server.
    """
    wanted = _text_of(schema_file) if schema_file is not None else None
    with session(dsn) as conn:
        found = read_structure(conn)
    expected = load_canonical() if wanted is None else read_from_sql(scratch_dsn or dsn, wanted, name=str(schema_file))
    return report(expected, found)


def report(expected: Structure, found: Structure) -> VerifyReport:
    """The comparison of two structures with its account of what was compared; pure."""
    either = [one.kind for one in expected.objects.keys() | found.objects.keys()]
    return VerifyReport(
        drifts=tuple(compare(expected, found)),
        compared={kind: either.count(kind) for kind in KINDS},
        not_compared=_left_out(found) + NOT_COMPARED,
    )


def compare_regions(conn_a: Connection, conn_b: Connection, schemas: Sequence[str] = SCHEMAS) -> list[Drift]:
    """How the structure of region b differs from that of region a: empty when they are the same.

    ``missing`` is in a and not in b, ``extra`` in b and not in a. Connections inside a transaction
    are read inside it, so that two open migrations can be compared before they commit.
    """
    return compare(read_structure(conn_a, schemas), read_structure(conn_b, schemas))


def _left_out(found: Structure) -> tuple[NotCompared, ...]:
    """One entry per reason, with the names of the objects; ``Structure.left_out`` has them all."""
    by_reason: dict[str, list[str]] = {}
    for left in found.left_out:
        one = left.identity
        if one.owner is None or one.kind == "trigger":
            by_reason.setdefault(left.why, []).append(f"{one.kind} {one.schema}.{one.name}")
    return tuple(NotCompared(_shortened(names), why) for why, names in by_reason.items())


def _shortened(names: list[str]) -> str:
    """A few names as they are; of many the first ones and how many more."""
    shown = names if len(names) <= _NAMED + 1 else [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return ", ".join(shown)


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"--schema {path}: {error.strerror or error}", hint="name a readable file of plain SQL"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--schema {path}: byte {error.start} is not UTF-8", hint="save it as UTF-8") from None
