"""migratectl reset keeps what is not data."""

from __future__ import annotations

from accountdb.lab import Lab
from tests.conftest import Databases, as_role, migratectl, rows, run_sql, value


def test_a_reset_keeps_grants_node_mode_and_guards(databases: Databases, native_lab: Lab) -> None:
    admin = databases.empty()
    owner = as_role(admin, native_lab.region("cn").app_dsn)
    run_sql(admin, "DROP ROLE IF EXISTS reset_web; CREATE ROLE reset_web")
    prepared = migratectl(
        "init", "--dsn", owner, "--admin-dsn", admin, "--mode", "native", "--node", "node_cn", "--grant-to", "reset_web"
    )
    assert prepared.returncode == 0, prepared.stderr
    run_sql(owner, "INSERT INTO users (username, password) VALUES ('x', 'y')")
    query = """
        SELECT table_name, privilege_type FROM information_schema.role_table_grants
        WHERE grantee = 'reset_web' ORDER BY 1, 2
    """
    granted = rows(admin, query)
    assert len(granted) == 20
    done = migratectl("reset", "--dsn", owner, "--yes")
    assert done.returncode == 0, done.stderr
    assert rows(admin, query) == granted
    assert value(admin, "SELECT count(*) FROM users") == 0
    assert rows(admin, "SELECT name, mode FROM accountdb.node") == [("node_cn", "native")]
    assert value(admin, "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_guard'") == 5
