"""Which server parameters must be equal, which must suffice, and which are told only."""

from __future__ import annotations

import pytest

from accountdb.replication.model import Mode
from accountdb.setup.parameters import Parameters, judge

READY = {
    "server_encoding": "UTF8",
    "lc_collate": "C.UTF-8",
    "lc_ctype": "C.UTF-8",
    "locale_provider": "libc",
    "standard_conforming_strings": "on",
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "shared_preload_libraries": "with pglogical",
    "pglogical.conflict_resolution": "apply_remote",
    "max_replication_slots": "10",
    "max_wal_senders": "10",
    "max_worker_processes": "8",
    "max_logical_replication_workers": "4",
    "max_slot_wal_keep_size": "-1",
    "TimeZone": "Etc/UTC",
    "collation_version": "2.36",
}
MODES = [Mode.PGSYNC, Mode.NATIVE, Mode.PGLOGICAL]


def pair(**changed: str | None) -> dict[str, Parameters]:
    other = {**READY, **{name.replace("__", "."): value for name, value in changed.items()}}
    return {"cn": READY, "global": {name: value for name, value in other.items() if value is not None}}


def differing(regions: dict[str, Parameters], mode: Mode) -> list[str]:
    equal = judge(regions, [mode, mode]).equal
    return [name for name in equal["cn"] if equal["cn"][name] != equal["global"][name]]


@pytest.mark.parametrize("mode", MODES)
def test_equal_servers_have_nothing_to_tell(mode: Mode) -> None:
    judged = judge(pair(), [mode, mode])
    assert differing(pair(), mode) == []
    assert (judged.notes, judged.unseen) == ((), ())


@pytest.mark.parametrize(
    ("name", "value", "modes"),
    [
        ("server_encoding", "GBK", MODES),
        ("lc_collate", "zh_CN.UTF-8", MODES),
        ("lc_ctype", "C", MODES),
        ("locale_provider", "icu", MODES),
        ("standard_conforming_strings", "off", MODES),
        ("wal_level", "replica", MODES[1:]),
        ("track_commit_timestamp", "off", MODES[1:]),
        ("shared_preload_libraries", "without pglogical", MODES[2:]),
        ("pglogical__conflict_resolution", "last_update_wins", MODES[2:]),
        ("max_replication_slots", "3", []),
        ("max_wal_senders", "0", []),
        ("max_worker_processes", "1", []),
        ("max_slot_wal_keep_size", "100", []),
        ("TimeZone", "Asia/Shanghai", []),
        ("collation_version", "2.28", []),
        ("lc_collate", "C.utf8", []),
    ],
)
def test_only_what_must_be_equal_is_drift(name: str, value: str, modes: list[Mode]) -> None:
    told = [mode for mode in MODES if differing(pair(**{name: value}), mode) == [name.replace("__", ".")]]
    assert told == modes
    assert all(differing(pair(**{name: value}), mode) == [] for mode in MODES if mode not in modes)


def test_numbers_must_suffice_where_streams_run() -> None:
    few = pair(max_wal_senders="0")
    assert judge(few, [Mode.PGSYNC]).notes == ()
    assert judge(few, [Mode.NATIVE]).notes == ("max_wal_senders is 0 in global; streams need 1 at least",)


def test_what_may_differ_is_told() -> None:
    assert judge(pair(TimeZone="Asia/Shanghai"), [Mode.PGSYNC]).notes == (
        "TimeZone is Etc/UTC in cn, Asia/Shanghai in global; it may differ",
    )


def test_what_one_region_does_not_show_is_not_compared() -> None:
    regions = pair(pglogical__conflict_resolution=None, collation_version=None, max_wal_senders=None)
    judged = judge(regions, [Mode.PGLOGICAL])
    assert judged.unseen == ("pglogical.conflict_resolution",)
    assert "pglogical.conflict_resolution" not in judged.equal["cn"]
    assert judged.notes == ()
