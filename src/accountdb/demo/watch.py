"""What the demo shows: both regions side by side, at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from accountdb.catalog.tables import read_tables
from accountdb.compare.content import TableContent, read_content
from accountdb.contract.row_contract import ACCOUNT_TABLES
from accountdb.health.status import Status, read_status
from accountdb.lab import Lab
from accountdb.pg.connect import connect


@dataclass(frozen=True)
class Picture:
    """The regions at one moment: the tables' content, the streams, the link."""

    phase: str
    link: str
    content: dict[str, dict[str, TableContent]]
    status: Status

    @property
    def different(self) -> tuple[str, ...]:
        """The tables that are not equal, parents first."""
        first, *others = self.content.values()
        return tuple(name for name in ACCOUNT_TABLES if any(first[name] != other[name] for other in others))

    @property
    def equal(self) -> bool:
        """Whether every table holds the same rows in all regions."""
        return not self.different


def take(lab: Lab, phase: str) -> Picture:
    """Look at all regions now."""
    content: dict[str, dict[str, TableContent]] = {}
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True, application="accountdb demo") as conn:
            tables = [table for table in read_tables(conn) if table.name in ACCOUNT_TABLES]
            content[region.name] = read_content(conn, tables)
    status = read_status({region.name: region.admin_dsn for region in lab.regions})
    return Picture(phase, lab.status().link, content, status)
