"""The lab's record, its settings and what is made of a server's last words: no server needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import mode_of
from accountdb.lab.model import LabState, ProcessId, RegionState, region_of, state_from_json
from accountdb.lab.settings import as_conf, checked, failure_reason, initdb_command, is_port_collision, settings

STATE = LabState(
    phase="kept",
    mode="native",
    keeper=ProcessId(7, 1234, "boot"),
    created_dir=True,
    data_root="/x/data",
    bin_dir="/x/bin",
    server_version="17.10",
    control_port=5,
    token="geheim-token",
    regions={"cn": RegionState(1, 2, "geheim-a", "geheim-b"), "global": RegionState(3, 4, "geheim-c", "geheim-d")},
)


def test_record_survives_json() -> None:
    assert state_from_json(json.loads(json.dumps(STATE.to_json())), "here") == STATE


def test_record_shows_no_secret() -> None:
    assert "geheim" not in repr(STATE)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"accountdb_lab": 99},
        {"accountdb_lab": 1},
        {**STATE.to_json(), "surprise": 1},
        {**STATE.to_json(), "keeper": {}},
        {**STATE.to_json(), "mode": "oracle"},
        {**STATE.to_json(), "regions": {"mars": {}}},
    ],
)
def test_what_is_no_record_is_an_error(document: object) -> None:
    with pytest.raises(AccountdbError):
        state_from_json(document, "/x/lab.json")


def test_names_are_checked() -> None:
    assert mode_of("pglogical") == "pglogical"
    assert region_of("global") == "global"
    with pytest.raises(UsageError, match="'bdr'") as raised:
        mode_of("bdr")
    assert raised.value.hint == "use one of native, pglogical, pgsync"
    with pytest.raises(UsageError, match="'eu'"):
        region_of("eu")


def test_settings_differ_by_mode_and_the_callers_win() -> None:
    native, pglogical = (settings(mode, 4711, {}) for mode in ("native", "pglogical"))
    assert set(pglogical) - set(native) == {"shared_preload_libraries", "pglogical.conflict_resolution"}
    assert native["port"] == "4711"
    assert settings("pgsync", 1, {}) == settings("native", 1, {})
    assert settings("native", 1, {"max_connections": "7"})["max_connections"] == "7"


def test_conf_quotes_values() -> None:
    assert as_conf({"a": "it's", "b.c": "back\\slash"}) == "a = 'it''s'\nb.c = 'back\\\\slash'\n"


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ({"port": "1"}, "fixed"),
        ({"listen_addresses": "*"}, "fixed"),
        ({"a b": "1"}, "name"),
        ({"x": "1\nport = 2"}, "more than one line"),
    ],
)
def test_settings_that_would_break_the_lab_are_refused(extra: dict[str, str], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        checked(extra)


def test_initdb_names_the_locale_provider_only_where_it_is_known() -> None:
    new, old = (initdb_command(Path("/b"), major, Path("/d"), Path("/p")) for major in (15, 14))
    assert [word for word in new if word not in old] == ["--locale-provider=libc"]


FATAL_SETTING = """\
2026-01-01 00:00:00.000 UTC [1] LOG:  starting PostgreSQL 17.10
2026-01-01 00:00:00.000 GMT [1] LOG:  unrecognized configuration parameter "nonsense" in file "/d/p.conf" line 9
2026-01-01 00:00:00.000 GMT [1] FATAL:  configuration file "/d/postgresql.conf" contains errors
"""
COLLISION = """\
2026-01-01 00:00:00.000 UTC [1] postmaster @/ LOG:  could not bind IPv4 address "127.0.0.1": Address already in use
2026-01-01 00:00:00.000 UTC [1] postmaster @/ HINT:  Is another postmaster already running on port 5? If not, wait.
2026-01-01 00:00:00.000 UTC [1] postmaster @/ WARNING:  could not create listen socket for "127.0.0.1"
2026-01-01 00:00:00.000 UTC [1] postmaster @/ FATAL:  could not create any TCP/IP sockets
2026-01-01 00:00:00.000 UTC [1] postmaster @/ LOG:  database system is shut down
"""
LIBRARY = """\
2026-01-01 00:00:00.000 UTC [1] FATAL:  could not access file "nolib": No such file or directory
2026-01-01 00:00:00.000 UTC [1] LOG:  database system is shut down
"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (LIBRARY, 'could not access file "nolib": No such file or directory'),
        (
            FATAL_SETTING,
            'configuration file "/d/postgresql.conf" contains errors;'
            ' unrecognized configuration parameter "nonsense" in file "/d/p.conf" line 9',
        ),
        (
            COLLISION,
            'could not create any TCP/IP sockets; could not bind IPv4 address "127.0.0.1": Address already in use',
        ),
        ("initdb: error: cannot be run as root\ninitdb: hint: Please log in.", "cannot be run as root"),
        ("something\nodd\n", "odd"),
        ("", "it said nothing"),
    ],
)
def test_failure_reason_is_the_servers_own(said: str, reason: str) -> None:
    assert failure_reason(said) == reason


def test_only_a_taken_port_is_a_collision() -> None:
    assert is_port_collision(COLLISION)
    assert not is_port_collision(LIBRARY)


def test_a_changed_record_is_another_record() -> None:
    assert replace(STATE, phase="stopping") != STATE
