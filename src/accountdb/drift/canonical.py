"""The structure that the package expects, and the structure that a file of SQL makes.

``python -m accountdb.drift.canonical DSN [FILE]`` writes ``sql/drift/canonical.json`` (or FILE) again,
with the help of any server where the DSN's role may create a database. To be run whenever
``schema.sql`` changes; a test says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from accountdb.drift.read import read_structure
from accountdb.drift.scratch import run_statements, scratch_database
from accountdb.drift.structure import SCHEMAS, Structure
from accountdb.errors import AccountdbError, UsageError
from accountdb.pg.connect import session
from accountdb.script.statements import statements
from accountdb.sql import folder, text

SCHEMA_FILE = "schema.sql"
CANONICAL_FILE = "drift/canonical.json"


@cache
def load_canonical() -> Structure:
    """The structure of the packaged ``schema.sql``; needs no server."""
    return Structure.from_tree(json.loads(text(CANONICAL_FILE))["objects"])


def read_from_sql(dsn: str, sql_text: str, *, name: str = "schema file", schemas: Sequence[str] = SCHEMAS) -> Structure:
    """The structure that ``sql_text`` makes in an empty database on the server of ``dsn``.

    The packaged ``schema.sql`` itself needs no database and no right. Raises UsageError, with
    ``name`` and the line, for a file that is broken or is not plain SQL, and MissingRightError
    for a role that may not create the scratch database.
    """
    if sql_text.encode() == text(SCHEMA_FILE).encode() and tuple(schemas) == SCHEMAS:
        return load_canonical()
    return _read_in_scratch(dsn, sql_text, name, schemas)


def _read_in_scratch(dsn: str, sql_text: str, name: str, schemas: Sequence[str]) -> Structure:
    script = statements(sql_text, name=name)
    with scratch_database(dsn) as scratch:
        run_statements(scratch, script, name=name)
        # A session of its own: what the file SET or assumed as a role ends with its session.
        with session(scratch) as conn:
            return read_structure(conn, schemas)


def canonical_text(structure: Structure, schema_sql: str) -> str:
    """``canonical.json`` for ``structure``, which ``schema_sql`` made."""
    document = {
        "generated_by": "python -m accountdb.drift.canonical DSN",
        "schema_sql_sha256": hashlib.sha256(schema_sql.encode()).hexdigest(),
        "objects": structure.tree(),
    }
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def regenerate(dsn: str, target: Path | None = None) -> Path:
    """Write ``canonical.json`` (or ``target``) from the packaged ``schema.sql``."""
    schema_sql = text(SCHEMA_FILE)
    structure = _read_in_scratch(dsn, schema_sql, SCHEMA_FILE, SCHEMAS)
    path = target or Path(str(folder())) / CANONICAL_FILE
    path.write_text(canonical_text(structure, schema_sql), encoding="utf-8")
    return path


def main(arguments: Sequence[str]) -> int:
    """The entry for developers; no command of the package."""
    try:
        if len(arguments) not in (1, 2):
            raise UsageError("a DSN is needed", hint="python -m accountdb.drift.canonical DSN [FILE]")
        target = Path(arguments[1]) if arguments[1:] else None
        sys.stdout.write(f"{regenerate(arguments[0], target)}\n")
    except AccountdbError as error:
        sys.stderr.write(f"{error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
