"""A server whose data is put back to what it was, as a restore, a failover or a copy started again does it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from accountdb.lab import Lab, LabRegion
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import as_role, eventually, run_sql, value
from tests.integration.syncing import Follow

# What the server writes, and reads again in a recovery: beside its data folder.
ARCHIVE = "archive"
ARCHIVED = {"archive_mode": "on", "archive_command": f"mkdir -p ../{ARCHIVE} && cp %p ../{ARCHIVE}/%f"}
FROM_ARCHIVE = f"cp ../{ARCHIVE}/%f %p"


@dataclass(frozen=True)
class Restorable:
    """One region's server of a lab that has it archive its log."""

    lab: Lab
    name: str

    @property
    def region(self) -> LabRegion:
        """How to reach it."""
        return self.lab.region(self.name)

    @property
    def _copy(self) -> Path:
        return self.region.data_dir.with_name(f"{self.name}.copy")

    def keep(self) -> None:
        """Copy the stopped server's data. What was archived before is not needed any more."""
        self.lab.stop(self.name)
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.rmtree(self.region.data_dir.with_name(ARCHIVE), ignore_errors=True)
        self._duplicate(self.region.data_dir, self._copy)
        self.lab.start(self.name)

    def put_back(self, *, signal: str | None = None, settings: Sequence[str] = ()) -> None:
        """Start what ``keep`` has copied in its place; ``signal``: as a recovery, with more settings."""
        self.lab.stop(self.name)
        shutil.rmtree(self.region.data_dir)
        self._duplicate(self._copy, self.region.data_dir)
        if signal:
            with (self.region.data_dir / "postgresql.auto.conf").open("w") as file:
                file.write("".join(f"{setting}\n" for setting in settings))
            self.as_owner("touch", self.region.data_dir / signal)
        self.lab.start(self.name)

    def recover(self, until: str) -> None:
        """Restore it up to a point that ``mark`` has set, from the archive. It goes on in a history of its own."""
        self.put_back(
            signal="recovery.signal",
            settings=(
                f"restore_command = '{FROM_ARCHIVE}'",
                f"recovery_target_name = '{until}'",
                "recovery_target_action = promote",
            ),
        )
        eventually(lambda: not value(self.region.admin_dsn, "SELECT pg_is_in_recovery()"))

    def stand_by(self) -> None:
        """Start what ``keep`` has copied as a standby, which reads the archive."""
        self.put_back(signal="standby.signal", settings=(f"restore_command = '{FROM_ARCHIVE}'",))

    def fail_over(self) -> None:
        """Have a standby take its place, which has all that was archived."""
        self.stand_by()
        assert value(self.region.admin_dsn, "SELECT pg_promote()")

    def mark(self, name: str) -> None:
        """A point that ``recover`` finds."""
        run_sql(self.region.admin_dsn, "SELECT pg_create_restore_point(%s)", name)

    def archived(self) -> None:
        """Have all that was written until now in the archive."""
        last = value(self.region.admin_dsn, "SELECT pg_walfile_name(pg_switch_wal())")
        archive = self.region.data_dir.with_name(ARCHIVE)
        eventually((archive / last).exists)

    def write_on(self, transactions: int) -> None:
        """So many transactions that change nothing which anybody syncs."""
        run_sql(
            self.region.admin_dsn,
            f"DO 'BEGIN FOR n IN 1..{transactions} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END'",
        )

    def as_owner(self, program: str | Path, *arguments: str | Path) -> None:
        """Run a program as the account that the server's data belongs to."""
        owner = self.region.data_dir.stat()
        switch = os.geteuid() == 0
        found = subprocess.run(
            [program, *arguments],
            user=owner.st_uid if switch else None,
            group=owner.st_gid if switch else None,
            extra_groups=[] if switch else None,
            cwd=self.region.data_dir,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert found.returncode == 0, found.stderr

    def database(self, name: str) -> str:
        """A new database there, by the DSN of the ordinary role that owns it."""
        owner = psycopg.conninfo.conninfo_to_dict(self.region.app_dsn)["user"]
        with connect(self.region.admin_dsn, autocommit=True) as conn:
            conn.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(str(owner)))
            )
        return as_role(with_params(self.region.admin_dsn, dbname=name), self.region.app_dsn)

    @staticmethod
    def _duplicate(source: Path, copy: Path) -> None:
        # With their owner and rights, of which a server makes sure.
        subprocess.run(["cp", "-a", source, copy], check=True)


def items(source: str, target: str, *, logged: bool) -> Follow:
    """A table of ten rows, synced once."""
    found = Follow(source, target).of("item")
    found.both("CREATE TABLE public.item (id integer PRIMARY KEY, v text)")
    if logged:
        found = found.logged()
    found.here("INSERT INTO item SELECT n, 'old' FROM generate_series(1, 10) AS n")
    assert found.counts("item").inserted == 10
    return found
