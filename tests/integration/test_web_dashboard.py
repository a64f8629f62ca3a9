"""migratectl dashboard over HTTP: who may come in, what is shown, what is written."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from accountdb.lab import Lab
from accountdb.pg.dsn import secrets, with_params
from benchmarks.filling import HOSTILE, SECRETS, fill
from tests.conftest import Databases, eventually, migratectl, rows, run_sql, value
from tests.integration.serving import TOKEN, Answer, Served, served, token_file

CONFLICTS = 60
_RECORD = "SELECT accountdb.record_conflict(%s, %s, %s, %s, 'rule', %s, %s, 'open', %s, to_jsonb(%s::text))"


@pytest.fixture(scope="module")
def regions(native_lab: Lab, databases: Databases) -> dict[str, str]:
    """Two databases with open conflicts, of hostile people too, and no stream between them."""
    found = {"cn": databases.migrated(), "global": databases.migrated()}
    for name, dsn in found.items():
        run_sql(dsn, "INSERT INTO accountdb.node (name, mode) VALUES (%s, 'pgsync')", f"node_{name}")
    fill({f"node_{name}": dsn for name, dsn in found.items()}, CONFLICTS, every="10 minutes", hostile=True)
    return found


@pytest.fixture(scope="module")
def env(regions: dict[str, str]) -> dict[str, str]:
    return {"CN_DSN": regions["cn"], "GLOBAL_DSN": regions["global"]}


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Iterator[Served]:
    """A dashboard of both, signed in."""
    folder = tmp_path_factory.mktemp("dashboard")
    with served(folder, "dashboard", "--token-file", str(token_file(folder)), env=env) as found:
        found.sign_in()
        found.read_once()
        yield found


def ids(dashboard: Served, query: str = "") -> list[str]:
    found = re.findall(r'class="row-link" href="/conflicts/([0-9a-f-]{36})"', dashboard.ask(f"/conflicts{query}").text)
    return list(found)


def state(regions: dict[str, str]) -> list[list[tuple[object, ...]]]:
    query = "SELECT u::text FROM users AS u UNION ALL SELECT r::text FROM accountdb.resolution AS r ORDER BY 1"
    return [rows(dsn, query) for dsn in regions.values()]


def mark_of(answer: Answer) -> str:
    match = re.search(r'name="mark" value="([0-9a-f]{64})"', answer.text)
    assert match is not None, answer.text
    return match[1]


def test_without_the_token_nothing_is_shown(dashboard: Served) -> None:
    for path in ("/", "/conflicts", "/lag.json", f"/conflicts/{ids(dashboard)[0]}"):
        answer = dashboard.ask(path, signed=False)
        assert answer.status == 303, path
        assert answer.headers["location"].startswith("/login?next=/")
    wrong = dashboard.ask("/login", {"token": TOKEN[:-1]}, signed=False)
    assert wrong.status == 403
    assert "set-cookie" not in wrong.headers
    assert dashboard.ask("/", signed=False, Cookie=f"{dashboard.cookie.partition('=')[0]}=guessed").status == 303


def test_the_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends(dashboard: Served) -> None:
    given = dashboard.ask("/login", {"token": TOKEN}, signed=False).headers["set-cookie"]
    assert "httponly" in given.lower()
    assert "samesite=strict" in given.lower()
    assert TOKEN not in given


def test_signing_out_ends_the_session(dashboard: Served) -> None:
    other = Served(dashboard.process, dashboard.port, dashboard.log)
    other.sign_in()
    assert other.ask("/logout", {"form_token": "guessed"}).status == 403
    assert other.ask("/logout", {"form_token": other.form_token("/conflicts")}).status == 303
    assert other.ask("/").status == 303


def test_every_answer_has_the_headers_that_shut_others_out(dashboard: Served) -> None:
    paths = ("/", "/conflicts", "/login", "/static/page.css", "/nosuch", "/lag.json")
    for path in paths:
        headers = dashboard.ask(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';"), path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")
    assert dashboard.ask("/", Host="evil.example").headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "", "localhost.evil.example:8420"])
def test_another_name_is_not_answered(dashboard: Served, host: str) -> None:
    """A name whose address an attacker turned to this machine is no name of this server."""
    answer = dashboard.ask("/", Host=host)
    assert answer.status in (400, 421)
    assert "example.cn" not in answer.text


def test_a_write_must_come_from_a_page_of_this_session(dashboard: Served, regions: dict[str, str]) -> None:
    key = ids(dashboard)[0]
    token = dashboard.form_token("/conflicts")
    before = state(regions)
    path, fields = f"/conflicts/{key}/plan", {"form_token": token, "action": "dismiss"}
    other = Served(dashboard.process, dashboard.port, dashboard.log)
    other.sign_in()
    refused = [
        dashboard.ask(path, fields, signed=False),
        dashboard.ask(path, {"action": "dismiss"}),
        dashboard.ask(path, {**fields, "form_token": other.form_token("/conflicts")}),
        dashboard.ask(path, fields, Origin="http://evil.example"),
        dashboard.ask(path, fields, Origin="null"),
        dashboard.ask(path, fields, Sec_Fetch_Site="cross-site"),
        dashboard.ask(path, fields, Sec_Fetch_Site="same-site"),
    ]
    assert [answer.status for answer in refused] == [403] * len(refused)
    assert dashboard.ask(path, fields, Content_Type="text/plain").status == 415
    assert dashboard.ask(path, {**fields, "value": "x" * 70_000}).status == 413
    assert dashboard.ask(path, method="GET").status == 405
    assert dashboard.ask("/conflicts", method="PUT").status == 405
    # What was never planned cannot be confirmed.
    assert dashboard.ask(f"/conflicts/{key}/resolve", {**fields, "mark": "0" * 64}).status == 409
    planned = dashboard.ask(path, fields, Origin=dashboard.url, Sec_Fetch_Site="same-origin")
    assert planned.status == 200
    stolen = {"form_token": other.form_token("/conflicts"), "mark": mark_of(planned)}
    assert other.ask(f"/conflicts/{key}/resolve", stolen).status == 409
    assert state(regions) == before


def test_no_page_shows_a_secret(dashboard: Served, env: dict[str, str]) -> None:
    token = dashboard.form_token("/conflicts")
    some = ids(dashboard)[:3]
    pages = [dashboard.ask(path).text for path in ("/", "/conflicts", "/lag.json", "/login", "/conflicts?page=2")]
    for key in some:
        pages.append(dashboard.ask(f"/conflicts/{key}").text)
        for action in ("merge-accounts", "dismiss"):
            pages.append(dashboard.ask(f"/conflicts/{key}/plan", {"form_token": token, "action": action}).text)
        typed = {"form_token": token, "action": "set", "column": "password", "value": "typed-by-hand-9"}
        pages.append(dashboard.ask(f"/conflicts/{key}/plan", typed).text)
    hidden = [*SECRETS, TOKEN, "typed-by-hand-9", *(secret for dsn in env.values() for secret in secrets(dsn))]
    hidden.append(dashboard.cookie.partition("=")[2])
    for text in pages:
        assert [secret for secret in hidden if secret in text] == []
    assert TOKEN not in dashboard.log.read_text()


def test_hostile_values_are_shown_and_do_nothing(dashboard: Served) -> None:
    shown = "".join(dashboard.ask(path).text for path in ("/", "/conflicts", "/conflicts?page=2"))
    # The oldest stand first, and the hostile ones were made last.
    for key in ids(dashboard, "?page=2")[-len(HOSTILE) :]:
        shown += dashboard.ask(f"/conflicts/{key}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert" not in shown
    assert "<img src=x" not in shown
    assert "\u202e" not in shown
    assert r"a\u202egnp.exe" in shown
    assert r"two\nlines" in shown
    assert HOSTILE[-1] in shown, "the long name stands whole on the conflict's own page"


def test_the_list_has_pages_and_filters(dashboard: Served, regions: dict[str, str]) -> None:
    first, second = ids(dashboard), ids(dashboard, "?page=2")
    assert len(first) == 50
    assert not set(first) & set(second)
    assert len(second) == value(regions["cn"], "SELECT count(*) FROM accountdb.conflict WHERE state = 'open'") - 50
    assert ids(dashboard, "?page=999") == second
    assert ids(dashboard, "?page=-1") == ids(dashboard, "?page=x") == first
    assert ids(dashboard, "?table=users&kind=unique_claim") == first
    assert ids(dashboard, "?table=sessions") == []
    assert ids(dashboard, "?kind=%27%22%3Cb%3E") == []
    for path in ("/conflicts/1", "/conflicts/x", "/conflicts/00000000-0000-0000-0000-000000000000", "/nosuch"):
        assert dashboard.ask(path).status == 404, path


def test_a_value_is_set_after_its_plan_was_confirmed(dashboard: Served, regions: dict[str, str]) -> None:
    key = ids(dashboard)[-1]
    token = dashboard.form_token(f"/conflicts/{key}")
    before = state(regions)
    asked = {"form_token": token, "action": "set", "column": "email"}
    path = f"/conflicts/{key}/plan"
    empty = dashboard.ask(path, {**asked, "value": ""})
    assert empty.status == 409
    assert "no value for email" in empty.text
    taken = value(regions["cn"], "SELECT email FROM users WHERE email IS NOT NULL LIMIT 1")
    refused = dashboard.ask(path, {**asked, "value": taken})
    assert refused.status == 409
    assert "is taken in cn" in refused.text
    planned = dashboard.ask(path, {**asked, "value": "chosen@example.cn"})
    assert "chosen@example.cn" in planned.text
    assert state(regions) == before
    done = dashboard.ask(f"/conflicts/{key}/resolve", {"form_token": token, "mark": mark_of(planned)})
    assert (done.status, done.headers["location"]) == (303, "/conflicts")
    listed = dashboard.ask("/conflicts").text
    assert f"Conflict {key[:8]} is resolved" in listed
    assert f"Conflict {key[:8]} is resolved" not in dashboard.ask("/conflicts").text, "a message is shown once"
    assert key not in ids(dashboard)
    assert (
        sum(value(dsn, "SELECT count(*) FROM users WHERE email = 'chosen@example.cn'") for dsn in regions.values()) == 1
    )
    again = dashboard.ask(f"/conflicts/{key}/resolve", {"form_token": token, "mark": mark_of(planned)})
    assert again.status == 409
    assert "settled already" in again.text


def test_what_changed_after_the_plan_is_not_written(dashboard: Served, regions: dict[str, str]) -> None:
    key = ids(dashboard)[-2]
    token = dashboard.form_token(f"/conflicts/{key}")
    planned = dashboard.ask(f"/conflicts/{key}/plan", {"form_token": token, "action": "merge-accounts"})
    loser = value(regions["cn"], "SELECT row_key FROM accountdb.conflict WHERE id = %s", key)
    for dsn in regions.values():
        run_sql(dsn, "UPDATE users SET level = 7 WHERE uuid = %s", loser)
    before = state(regions)
    done = dashboard.ask(f"/conflicts/{key}/resolve", {"form_token": token, "mark": mark_of(planned)})
    assert done.status == 409
    assert "Nothing was written." in done.text
    assert state(regions) == before
    anew = dashboard.ask(f"/conflicts/{key}/plan", {"form_token": token, "action": "merge-accounts"})
    assert dashboard.ask(f"/conflicts/{key}/resolve", {"form_token": token, "mark": mark_of(anew)}).status == 303
    assert value(regions["cn"], "SELECT count(*) FROM accountdb.resolution WHERE conflict_id = %s", key) + value(
        regions["global"], "SELECT count(*) FROM accountdb.resolution WHERE conflict_id = %s", key
    )


def test_language_and_colours_are_chosen_without_leaving_the_server(dashboard: Served) -> None:
    assert "<h1>冲突收件箱</h1>" in dashboard.ask("/conflicts", Accept_Language="zh-CN,zh;q=0.9,en;q=0.8").text
    assert "<h1>Conflict inbox</h1>" in dashboard.ask("/conflicts", Accept_Language="fr, en;q=0.5, zh;q=0.2").text
    chosen = dashboard.ask("/set?language=zh&back=/conflicts")
    assert (chosen.status, chosen.headers["location"]) == (303, "/conflicts")
    assert "language=zh" in chosen.headers["set-cookie"]
    assert 'data-theme="dark"' in dashboard.ask("/", Cookie=f"{dashboard.cookie}; theme=dark").text
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a%0d%0ab"):
        assert dashboard.ask(f"/set?language=en&back={elsewhere}").headers["location"] == "/"
    other = Served(dashboard.process, dashboard.port, dashboard.log)
    given = other.ask("/login?next=//evil.example", {"token": TOKEN})
    assert (given.status, given.headers["location"]) == (303, "/")


def test_read_only_shows_and_writes_nothing(tmp_path: Path, databases: Databases) -> None:
    regions = {"cn": databases.migrated(), "global": databases.migrated()}
    fill({f"node_{name}": dsn for name, dsn in regions.items()}, 2, every="1 hour")
    env = {"CN_DSN": regions["cn"], "GLOBAL_DSN": regions["global"]}
    count = "SELECT count(*) FROM accountdb.heartbeat"
    before = [value(dsn, count) for dsn in regions.values()]
    with served(
        tmp_path, "dashboard", "--read-only", "--read-open", "--token-file", str(token_file(tmp_path)), env=env
    ) as open_:
        open_.read_once()
        key = ids(open_)[0]
        assert "This dashboard only shows." in open_.ask(f"/conflicts/{key}").text
        open_.sign_in()
        fields = {"form_token": open_.form_token("/"), "action": "dismiss"}
        assert open_.ask(f"/conflicts/{key}/plan", fields).status == 403
        assert open_.ask(f"/conflicts/{key}/resolve", {**fields, "mark": "0" * 64}).status == 403
    assert [value(dsn, count) for dsn in regions.values()] == before


def test_a_region_that_hangs_holds_up_nothing(tmp_path: Path, regions: dict[str, str]) -> None:
    """A server that lets connect and says nothing: pages come, and so does the end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"host=127.0.0.1 port={silent.getsockname()[1]} user=account password=never-shown dbname=account"
        env = {"CN_DSN": regions["cn"], "GLOBAL_DSN": dead}
        with served(tmp_path, "dashboard", "--token-file", str(token_file(tmp_path)), env=env) as found:
            found.sign_in()
            began = time.monotonic()
            assert found.ask("/").status == 200
            assert time.monotonic() - began < 1, "the page does not wait for the first reading"
            eventually(lambda: "does not answer" in found.ask("/").text and 'id="rows"' in found.ask("/").text)
            began = time.monotonic()
            for path in ("/", "/conflicts", f"/conflicts/{ids(found)[0]}"):
                answer = found.ask(path)
                assert answer.status == 200
                assert "never-shown" not in answer.text
            assert "global cannot be asked now." in found.ask("/conflicts").text
            assert time.monotonic() - began < 3
            key, token = ids(found)[0], found.form_token("/conflicts")
            planned = found.ask(f"/conflicts/{key}/plan", {"form_token": token, "action": "dismiss"})
            assert found.ask(f"/conflicts/{key}/resolve", {"form_token": token, "mark": mark_of(planned)}).status == 303
            assert "global learns it by replication" in found.ask("/conflicts").text
            began = time.monotonic()
            found.process.send_signal(signal.SIGTERM)
            assert found.process.wait(5) == 0
            assert time.monotonic() - began < 4
            assert "dashboard: ended" in found.log.read_text()


def test_other_machines_and_open_tokens_are_refused(tmp_path: Path, env: dict[str, str]) -> None:
    remote = migratectl("dashboard", "--listen", "0.0.0.0:0", env=env)
    assert remote.returncode == 4
    assert "--allow-remote" in remote.stderr
    for wrong in ("8420", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:1", ":1"):
        assert migratectl("dashboard", "--listen", wrong, env=env).returncode == 2, wrong
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = migratectl("dashboard", "--listen", f"127.0.0.1:{port}", env=env)
        assert found.returncode == 3
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in found.stderr
    readable = token_file(tmp_path)
    readable.chmod(0o644)
    found = migratectl("dashboard", "--listen", "127.0.0.1:0", "--token-file", str(readable), env=env)
    assert found.returncode == 2
    assert f"chmod 600 {readable}" in found.stderr
    readable.chmod(0o600)
    readable.write_text("short\n")
    assert migratectl("dashboard", "--token-file", str(readable), "--listen", "127.0.0.1:0", env=env).returncode == 2


def test_a_token_file_is_made_for_its_owner_alone(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "new token"
    with served(tmp_path, "dashboard", "--token-file", str(path), env=env) as found:
        eventually(lambda: f"token: in {path}" in found.log.read_text())
        assert path.stat().st_mode & 0o777 == 0o600
        assert len(path.read_text().strip()) >= 32
        assert path.read_text().strip() not in found.log.read_text()
        assert found.ask("/login", {"token": path.read_text()}).status == 303
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(5) == 0


def test_a_role_that_may_not_see_conflicts_sees_the_rest(
    tmp_path: Path, native_lab: Lab, regions: dict[str, str]
) -> None:
    admin = native_lab.region("cn").admin_dsn
    run_sql(admin, "DROP ROLE IF EXISTS web_watcher")
    run_sql(admin, "CREATE ROLE web_watcher LOGIN PASSWORD 'watching' IN ROLE pg_monitor")
    for dsn in regions.values():
        run_sql(dsn, "GRANT USAGE ON SCHEMA accountdb TO web_watcher")
    env = {
        f"{name.upper()}_DSN": with_params(dsn, user="web_watcher", password="watching")
        for name, dsn in regions.items()
    }
    try:
        with served(tmp_path, "dashboard", "--token-file", str(token_file(tmp_path)), env=env) as found:
            found.sign_in()
            eventually(lambda: "This role may not read conflicts." in found.ask("/").text)
            assert "node_cn" in found.ask("/").text
            refused = found.ask("/conflicts")
            assert refused.status == 503
            assert "may not read accountdb.conflict" in refused.text
    finally:
        for dsn in regions.values():
            run_sql(dsn, "DROP OWNED BY web_watcher")
        run_sql(admin, "DROP ROLE web_watcher")


def test_every_kind_of_conflict_has_its_page(dashboard: Served, regions: dict[str, str]) -> None:
    """What the record may hold: no winner, a table that is gone, names that need quotes, values of any depth."""
    row = {
        "uuid": str(UUID(int=7)),
        "version": 1,
        "deep": {"password": "pw-hidden-1", "list": [1, None, "<b>"]},
        "n": None,
    }
    odd = 'we"ird.%s <名>'
    kinds = (
        "unique_claim",
        "update_update",
        "update_delete",
        "dead_row",
        "child_of_deleted",
        "orphan",
        "unknown",
        "new_kind",
    )
    made: list[str] = []
    for at, (kind, schema, table) in enumerate(
        (kind, schema, table) for kind in kinds for schema, table in (("public", "users"), (odd, odd))
    ):
        for winner in (None, {**row, odd: "x"}):
            loser = {**row, "uuid": str(UUID(int=100 + at))}
            made.append(
                str(
                    value(
                        regions["cn"],
                        _RECORD,
                        kind, schema, table, UUID(int=100 + at), Jsonb(winner) if winner else None, Jsonb(loser),
                        "detail <i>", f"{at}{winner}",
                    )
                )
            )  # fmt: skip
    try:
        listed = dashboard.ask(f"/conflicts?table={quote(f'{odd}.{odd}')}", Accept_Language="zh").text
        assert listed.count('class="row-link"') == len(made) / 2
        for at, key in enumerate(made):
            answer = dashboard.ask(f"/conflicts/{key}", Accept_Language="zh" if at % 8 == 0 else "en")
            assert answer.status == 200, answer.text
            assert "pw-hidden-1" not in answer.text
            assert "<b>" not in answer.text.partition("<main")[2]
    finally:
        run_sql(regions["cn"], "DELETE FROM accountdb.conflict WHERE rule = 'rule'")
