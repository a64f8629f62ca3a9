"""Server parameters of several regions: which must be equal, which must suffice, which are only told. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accountdb.replication.model import Mode

Parameters = Mapping[str, str]
"""One region's parameters by name. A parameter that the role may not see, or that does not exist there, is absent."""

_ALWAYS_EQUAL = (
    "server_encoding",
    "lc_collate",
    "lc_ctype",
    "locale_provider",
    "locale",
    "standard_conforming_strings",
)
_STREAMS_EQUAL = ("wal_level", "track_commit_timestamp")
_PGLOGICAL_EQUAL = ("shared_preload_libraries", "pglogical.conflict_resolution")
_LEAST = {
    "max_replication_slots": 1,
    "max_wal_senders": 1,
    "max_worker_processes": 2,
    "max_logical_replication_workers": 1,
}
_TOLD = ("TimeZone", "collation_version", "max_slot_wal_keep_size")

NAMES = (
    "standard_conforming_strings",
    *_STREAMS_EQUAL,
    "pglogical.conflict_resolution",
    *_LEAST,
    "TimeZone",
    "max_slot_wal_keep_size",
)
"""What is asked of pg_settings; encoding and locale are the database's."""


@dataclass(frozen=True)
class Judged:
    """``equal`` has, by region, what must be the same; ``unseen`` are parameters that a role may not
    see or that a server does not have; ``notes`` are facts that are no difference."""

    equal: Mapping[str, Mapping[str, str]]
    unseen: tuple[str, ...]
    notes: tuple[str, ...]


def judge(regions: Mapping[str, Parameters], modes: Sequence[Mode]) -> Judged:
    """What the parameters of ``regions`` mean where ``modes`` are the modes in use."""
    wanted = list(_ALWAYS_EQUAL)
    streams = any(mode is not Mode.PGSYNC for mode in modes)
    if streams:
        wanted += _STREAMS_EQUAL
    if Mode.PGLOGICAL in modes:
        wanted += _PGLOGICAL_EQUAL
    seen = [name for name in wanted if all(name in found for found in regions.values())]
    unseen = [name for name in wanted if name not in seen and any(name in found for found in regions.values())]
    equal = {region: {name: _settled(name, found[name]) for name in seen} for region, found in regions.items()}
    return Judged(equal, tuple(unseen), (*(_too_few(regions) if streams else ()), *_differing(regions)))


def _settled(name: str, value: str) -> str:
    """``value`` in the form that is compared."""
    if name in ("lc_collate", "lc_ctype"):
        # en_US.utf8 and en_US.UTF-8 are one locale.
        language, dot, codeset = value.partition(".")
        return language + dot + re.sub(r"[^a-z0-9]", "", codeset.lower())
    return value


def _too_few(regions: Mapping[str, Parameters]) -> list[str]:
    return [
        f"{name} is {found[name]} in {region}; streams need {least} at least"
        for name, least in _LEAST.items()
        for region, found in regions.items()
        if name in found and int(found[name]) < least
    ]


def _differing(regions: Mapping[str, Parameters]) -> list[str]:
    """What may differ and is worth a word when it does."""
    return [
        f"{name} is {', '.join(f'{found[name]} in {region}' for region, found in regions.items())}; it may differ"
        for name in _TOLD
        if all(name in found for found in regions.values()) and len({found[name] for found in regions.values()}) > 1
    ]
