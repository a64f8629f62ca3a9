"""An import into one of two regions that two merge jobs of pgsync keep alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from accountdb.lab import Lab
from tests.conftest import Databases, as_role, migratectl, rows, run_command, run_sql
from tests.integration.snapshots import brought, content, counts, export, register

JOB = (
    "{{source: {{dsn: '${{{0}}}'}}, destination: {{dsn: '${{{1}}}'}}, schema: public, policy: merge, tables: {{{2}}}}}"
)
TABLES = ", ".join(f"{name}: {{}}" for name in ("users", "identities", "sessions", "admin_settings", "subscriptions"))


@pytest.mark.parametrize("strategy", ["replace", "append"])
def test_both_end_equal(databases: Databases, native_lab: Lab, tmp_path: Path, strategy: str) -> None:
    role = native_lab.region("cn").app_dsn
    here, there = (as_role(databases.migrated(), role) for _ in range(2))
    for dsn, node in ((here, "node_here"), (there, "node_there")):
        assert migratectl("init", "--dsn", dsn, "--mode", "pgsync", "--node", node).returncode == 0
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(
        f"jobs:\n  to: {JOB.format('HERE', 'THERE', TABLES)}\n  fro: {JOB.format('THERE', 'HERE', TABLES)}\n"
    )

    def synced(*arguments: str) -> None:
        done = run_command("pgsync", "--config", str(jobs), *arguments, env={"HERE": here, "THERE": there})
        assert done.returncode == 0, done.stderr

    for number in range(4):
        register(here, number)
    synced("--install-capture")
    synced()
    export(there, tmp_path / "s.yaml")
    run_sql(here, "UPDATE users SET level = 30, email = 'new@x.com' WHERE username = 'u1'")
    run_sql(here, "DELETE FROM users WHERE username = 'u2'")
    run_sql(there, "UPDATE users SET level = 40 WHERE username = 'u3'")
    synced()
    assert content(here) == content(there)
    found = brought(here, tmp_path / "s.yaml", "--merge", "--merge-strategy", strategy)
    assert counts(found) == ((1, 2, 1, 0, 0) if strategy == "replace" else (1, 0, 1, 2, 0))
    for _ in range(2):
        synced()
        assert content(here) == content(there)
    levels = [20, 20, 20, 20] if strategy == "replace" else [20, 30, 20, 40]
    assert [level for (level,) in rows(there, "SELECT level FROM users ORDER BY username")] == levels
