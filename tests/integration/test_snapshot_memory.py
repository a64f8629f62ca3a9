"""Memory: what export and import take does not grow with the number of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import command
from tests.conftest import BIN, Databases, rows, run_sql, value
from tests.integration.snapshots import content

INDEXES = (
    "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid::regclass::text !~ '^pg_' ORDER BY 1"
)
SMALL, LARGE = 2_000, 60_000
# What an interpreter takes more or less from one run to the next.
SLACK_MB = 12


def fill(dsn: str, users: int) -> None:
    run_sql(
        dsn,
        "INSERT INTO users (username, password, email, groups) SELECT 'u' || n, repeat(md5(n::text), 4), n || '@x.com',"
        f" jsonb_build_array(repeat('x', 200)) FROM generate_series(1, {users}) AS n",
    )
    run_sql(dsn, "INSERT INTO sessions (token, expires_at, user_uuid) SELECT uuid, now(), uuid FROM users")


@pytest.mark.by_hand(name="s.jsonl.zst")
@pytest.mark.parametrize("name", ["s.yaml.gz", "s.jsonl.zst", "edited.yaml"])
def test_thirty_times_the_users_take_no_more_memory(databases: Databases, tmp_path: Path, name: str) -> None:
    exported, imported = [], []
    for users in (SMALL, LARGE):
        dsn, target = databases.migrated(), databases.migrated()
        fill(dsn, users)
        file = tmp_path / f"{users}-{name}"
        exported.append(command([BIN / "migratectl", "export", "--dsn", dsn, "--output", file]).peak_mb)
        more = []
        if name.startswith("edited"):
            # From the first row on PyYAML reads.
            file.write_text(file.read_text().replace("rows:\n", "rows: # edited\n", 1))
            more = ["--allow", "edited"]
        imported.append(command([BIN / "migratectl", "import", "--dsn", target, "--file", file, *more]).peak_mb)
        assert value(target, "SELECT count(*) FROM users") == users
        assert content(target) == content(dsn)
        # Those of an empty table are made after its rows.
        assert rows(target, INDEXES) == rows(dsn, INDEXES)
    assert exported[1] < exported[0] + SLACK_MB
    assert imported[1] < imported[0] + SLACK_MB
    assert max(*exported, *imported) < 150
