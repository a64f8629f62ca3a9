"""migratectl metrics: what is served, that it is what the docs say, and that nothing holds it up."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from accountdb.lab import Lab
from accountdb.pg.dsn import secrets, with_params
from accountdb.sql import folder
from benchmarks.filling import fill
from tests.conftest import BIN, Databases, eventually, migratectl, run_sql, value
from tests.integration.serving import served

ROOT = Path(__file__).parents[2]
PROMTOOL = shutil.which("promtool", path=f"{BIN}:/usr/bin:/usr/local/bin")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="SKIPPED: promtool is not here (scripts/promtool.sh)")
_NAME = re.compile(r"\baccountdb_[a-z_]+")


@pytest.fixture(scope="module")
def env(databases: Databases) -> dict[str, str]:
    """Two databases in the mode pgsync with three open conflicts, a job's last pass and a merge."""
    found = {"CN_DSN": databases.migrated(), "GLOBAL_DSN": databases.migrated()}
    for name, dsn in zip(("cn", "global"), found.values(), strict=True):
        run_sql(dsn, "INSERT INTO accountdb.node (name, mode) VALUES (%s, 'pgsync')", f"node_{name}")
        run_sql(
            dsn,
            "INSERT INTO accountdb.last_run (kind, partners, seconds, equal, written)"
            " VALUES ('merge', 'node_x', 1, true, 2), ('heal', 'node_x', 1, false, 0)",
        )
    fill({"node_cn": found["CN_DSN"], "node_global": found["GLOBAL_DSN"]}, 3, every="1 hour")
    return found


def documented() -> dict[str, list[str]]:
    """Name: labels, out of the table."""
    text = (ROOT / "docs/metrics.md").read_text()
    found = re.findall(r"^\| `(accountdb_\w+)` \| (.*?) \| .+ \|$", text, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", labels) for name, labels in found}


def served_names(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{") if "{" in line else (line.split()[0], "", "")
            found[name] = sorted(re.findall(r'(\w+)="', rest))
    return found


def test_the_docs_name_every_metric_and_no_other() -> None:
    from accountdb.web.metrics import FAMILIES

    assert documented() == {family.name: list(family.labels) for family in FAMILIES}
    for family in FAMILIES:
        assert family.name.endswith("_total") == family.total
        row = next(
            line for line in (ROOT / "docs/metrics.md").read_text().splitlines() if f"| `{family.name}` |" in line
        )
        assert family.help in row


def test_what_is_served_is_what_is_documented(env: dict[str, str]) -> None:
    found = migratectl("metrics", "--once", env=env)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    told = documented()
    names = served_names(found.stdout)
    for name, labels in names.items():
        assert labels == sorted(told[name]), name
    lines = found.stdout.splitlines()
    for line in (
        'accountdb_up{region="cn"} 1.0',
        'accountdb_conflicts_open{region="global"} 3.0',
        'accountdb_conflicts_recorded_total{region="cn"} 3.0',
        'accountdb_last_merge_equal{partners="node_x",region="cn"} 1.0',
        'accountdb_last_heal_equal{partners="node_x",region="global"} 0.0',
        'accountdb_beat_ok{region="cn"} 1.0',
        'accountdb_problems{check="conflicts",level="warn",region="cn"} 1.0',
    ):
        assert line in lines
    for dsn in env.values():
        for secret in secrets(dsn):
            assert secret not in found.stdout
    assert value(env["CN_DSN"], "SELECT count(*) FROM accountdb.heartbeat WHERE node = 'node_cn'") == 1
    if PROMTOOL:
        judged = subprocess.run(
            [PROMTOOL, "check", "metrics"], input=found.stdout, capture_output=True, text=True, check=False
        )
        assert judged.returncode == 0, judged.stdout + judged.stderr


def test_without_beats_nothing_is_written(env: dict[str, str]) -> None:
    count = "SELECT count(*) FROM accountdb.heartbeat"
    before = value(env["CN_DSN"], count)
    assert migratectl("metrics", "--once", "--no-beat", env=env).returncode == 0
    assert value(env["CN_DSN"], count) == before


def test_the_role_that_monitors_is_enough(native_lab: Lab, env: dict[str, str]) -> None:
    names = {"OWNER": "account", "APP": "web_app", "SYNC": "web_sync", "MONITOR": "web_monitor"}
    given = [word for name, role in names.items() for word in ("-v", f"{name}={role}")]
    for dsn in env.values():
        words = [str(native_lab.bin_dir / "psql"), dsn, "-X", "-q", "-v", "ON_ERROR_STOP=1", *given]
        subprocess.run([*words, "-f", str(folder() / "roles.sql")], capture_output=True, check=True)
    run_sql(env["CN_DSN"], "ALTER ROLE web_monitor PASSWORD 'only-looks'")
    limited = {name: with_params(dsn, user="web_monitor", password="only-looks") for name, dsn in env.items()}
    found = migratectl("metrics", "--once", env=limited).stdout
    assert 'accountdb_conflicts_open{region="cn"} 3.0' in found
    assert 'accountdb_beat_ok{region="global"} 1.0' in found
    assert 'accountdb_last_merge_equal{partners="node_x",region="cn"} 1.0' in found
    assert "accountdb_stream_up" not in found, "these two do not stream"


def test_endpoints_say_ready_and_why_not(tmp_path: Path, env: dict[str, str]) -> None:
    """One region answers, one lets connect and is silent: the numbers of the first come, and no scrape waits."""
    with served(tmp_path, "metrics", "--interval", "1", env=env) as found:
        eventually(lambda: found.ask("/readyz").status == 200)
        assert found.ask("/readyz").text == "ok\n"
        assert found.ask("/metrics").headers["content-type"].startswith("text/plain")
        assert found.ask("/nosuch").status == 404
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"host=127.0.0.1 port={silent.getsockname()[1]} user=account password=never-shown dbname=account"
        with served(tmp_path, "metrics", "--interval", "1", env={**env, "GLOBAL_DSN": dead}) as found:
            began = time.monotonic()
            assert found.ask("/healthz").status == 200
            first = found.ask("/readyz")
            assert first.status == 503
            assert "accountdb_build_info" in found.ask("/metrics").text
            assert time.monotonic() - began < 1
            text = eventually(
                lambda: (t := found.ask("/metrics").text) and 'accountdb_up{region="global"} 0.0' in t and t
            )
            assert 'accountdb_up{region="cn"} 1.0' in str(text)
            ready = found.ask("/readyz")
            assert ready.status == 503
            assert "global: cannot connect to account@127.0.0.1" in ready.text
            assert "never-shown" not in ready.text + str(text) + found.log.read_text()


def test_a_port_that_is_taken_is_one_line(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = migratectl("metrics", "--listen", f"127.0.0.1:{port}", env=env)
    assert found.returncode == 3
    assert found.stderr.splitlines()[0] == f"error: cannot listen on 127.0.0.1:{port}: Address already in use"


@needs_promtool
def test_prometheus_accepts_the_rules_and_they_fire() -> None:
    for words in (("check", "rules", "docs/examples/alerts.yml"), ("test", "rules", "docs/examples/alerts.test.yml")):
        done = subprocess.run([str(PROMTOOL), *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def test_rules_and_panels_name_only_metrics_that_exist() -> None:
    told = set(documented())
    rules = (ROOT / "docs/examples/alerts.yml").read_text()
    used = set(_NAME.findall(rules))
    assert used <= told
    assert rules.count("summary:") == rules.count("command:") == rules.count("- alert:")
    grafana = json.loads((ROOT / "docs/examples/grafana.json").read_text())
    asked = [target["expr"] for panel in grafana["panels"] for target in panel["targets"]]
    assert asked
    for query in asked:
        assert set(_NAME.findall(query)) <= told, query
    assert len({panel["id"] for panel in grafana["panels"]}) == len(grafana["panels"])


def test_the_commands_of_the_rules_are_commands() -> None:
    rules = (ROOT / "docs/examples/alerts.yml").read_text()
    commands = {line.split("command: ")[1] for line in rules.splitlines() if "command: migratectl" in line}
    assert len(commands) >= 5
    for command in commands:
        words = shlex.split(command)[1:]
        names = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
        told = migratectl(*names, "--help").stdout
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", told), command
