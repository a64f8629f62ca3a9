"""Beats in several regions: what cron writes so that the lag is known in seconds, also when nothing else is written."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import psycopg

from accountdb.errors import AccountdbError
from accountdb.health.reading import beat, prepare
from accountdb.pg.connect import connect, told


@dataclass(frozen=True)
class Beaten:
    """What became of the beat in one region: when it was made (or the last one, if that is younger than the gap)."""

    region: str
    at: datetime | None
    error: str | None = None


def beat_regions(dsns: Mapping[str, str]) -> tuple[Beaten, ...]:
    """One beat in each region, all at the same time. A region that cannot be reached is told in its answer."""
    with ThreadPoolExecutor(len(dsns)) as pool:
        return tuple(pool.map(_beat, dsns.items()))


def _beat(region: tuple[str, str]) -> Beaten:
    name, dsn = region
    try:
        with connect(dsn, name="", autocommit=True, timeout_s=4, application="accountdb heartbeat") as conn:
            prepare(conn, 5.0)
            return Beaten(name, beat(conn))
    except AccountdbError as error:
        return Beaten(name, None, error.message)
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
        return Beaten(name, None, "accountdb.beat() is not there: migratectl migrate")
    except psycopg.Error as error:
        return Beaten(name, None, told(error, dsn).message)
