"""The shipped canonical structure is that of the shipped schema, and is found without a server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from accountdb.drift.canonical import canonical_text, load_canonical, main, read_from_sql
from accountdb.drift.kinds import KINDS
from accountdb.drift.structure import Identity
from accountdb.drift.verify import verify
from accountdb.errors import UsageError
from accountdb.sql import blocks, text

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def test_canonical_was_made_from_the_schema_that_is_shipped() -> None:
    made_from = json.loads(text("drift/canonical.json"))["schema_sql_sha256"]
    wanted = hashlib.sha256(text("schema.sql").encode()).hexdigest()
    assert made_from == wanted, "schema.sql changed: run python -m accountdb.drift.canonical DSN"


def test_canonical_is_written_in_one_form() -> None:
    assert canonical_text(load_canonical(), text("schema.sql")) == text("drift/canonical.json")


def test_canonical_has_the_account_tables() -> None:
    tables = {one.name for one in load_canonical().objects if one.kind == "table" and one.schema == "public"}
    assert tables == {"users", "identities", "sessions", "admin_settings", "subscriptions"}
    email = load_canonical().objects[Identity("column", "public", "users.email_verified")]
    assert email["generated"] == "stored: (email_verified_at IS NOT NULL)"


def test_the_packaged_schema_needs_no_server() -> None:
    assert read_from_sql(NOWHERE, text("schema.sql")) is load_canonical()


def test_a_file_that_is_no_sql_is_refused_before_a_server_is_asked() -> None:
    with pytest.raises(UsageError, match="psql command"):
        read_from_sql(NOWHERE, "\\i other.sql\n")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_file(kind: str) -> None:
    assert "read" in blocks(f"drift/{kind}.sql")


def test_a_missing_schema_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--schema .*gone\.sql: No such file or directory"):
        verify(NOWHERE, tmp_path / "gone.sql")


def test_a_folder_is_no_schema_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        verify(NOWHERE, tmp_path)


def test_a_schema_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "latin1.sql"
    path.write_bytes(b"-- caf\xe9\n")
    with pytest.raises(UsageError, match="byte 6 is not UTF-8"):
        verify(NOWHERE, path)


def test_regenerate_needs_a_dsn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "hint: python -m accountdb.drift.canonical DSN [FILE]" in capsys.readouterr().err


def test_regenerate_tells_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([NOWHERE]) == 3
    assert capsys.readouterr().err.startswith("DSN: cannot connect")
