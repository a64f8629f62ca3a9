"""What becomes of each row of a snapshot: verdicts, made by sets, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from accountdb.catalog.references import empty, refers
from accountdb.catalog.tables import Reference, Table
from accountdb.contract.masking import printable
from accountdb.errors import AccountdbError, MissingRightError, Refused
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.snapshot.model import Strategy
from accountdb.snapshot.staging import FILE, Staged, mapping_of, names, written
from accountdb.sql import block

_STAMP = ("created_at", "updated_at", "version", "origin_node")


@dataclass(frozen=True)
class Policy:
    """What this database has of accountdb's own: the row order, and tombstones."""

    order: bool
    graves: bool


def read_policy(conn: Connection) -> Policy:
    """Raises MissingRightError where there are tombstones that this role may not read."""
    row = conn.execute(block(FILE, "policy")).fetchone()
    assert row is not None
    order, graves, readable = row
    if graves and not readable:
        raise MissingRightError(
            "this role may not read accountdb.tombstone, so what was deleted here is not known",
            hint="run it as the owner of the tables or as an administrator",
        )
    return Policy(order, graves)


@dataclass
class Judging:
    """Verdicts on what is staged. ``strategy`` None: nothing may stand here that is not the snapshot's."""

    staged: Staged
    policy: Policy
    strategy: Strategy | None
    _done: set[str] = field(default_factory=set)

    def judge(self) -> None:
        """All tables. Raises AccountdbError where a merge has no row order to go by."""
        if self.strategy is not None and not self.policy.order:
            raise AccountdbError("this database has no row order", hint="migratectl migrate makes it")
        for table in self.staged.structure.tables:
            self._judge(table)

    def _judge(self, table: Table) -> None:
        dead = "CASE WHEN g.row_key IS NULL THEN s.created_at ELSE t.created_at END"
        alive = [
            sql.SQL(dead) if name == "created_at" else sql.SQL("s.{}").format(sql.Identifier(name))
            for name in written(table)
        ]
        content = [name for name in written(table) if name not in _STAMP]
        strategy = self.strategy.value if self.strategy else "none"
        decided = sql.SQL(block(FILE, f"decided_{strategy}")).format(
            staged_content=names("s.", content), standing_content=names("t.", content)
        )
        self._run(
            "judge",
            table,
            new=sql.Identifier(self.staged.verdicts_name(table)),
            graves=self._graves(table),
            revives=sql.SQL("false" if self.strategy is Strategy.TIMESTAMP else "true"),
            staged_alive=sql.SQL(", ").join(alive),
            standing=names("t.", written(table)),
            wins=self._wins(table),
            decided=decided,
        )
        self._run("verdict_key", table)
        self._run("analyze_verdicts", table)

    def _graves(self, table: Table) -> sql.Composable:
        return sql.SQL(block(FILE, "graves" if self.policy.graves else "no_graves")).format(
            schema_name=sql.Literal(table.schema), table_name=sql.Literal(table.name)
        )

    def _wins(self, table: Table) -> sql.Composable:
        if self.strategy is None:
            return sql.SQL("false")
        generated = sql.SQL("ARRAY[{}]::pg_catalog.text[]").format(
            sql.SQL(", ").join(sql.Literal(column.name) for column in table.generated)
        )
        order = sql.SQL(block(FILE, "wins")).format(table=table.identifier, generated=generated)
        tie = "(s.version, s.updated_at, s.origin_node) = (t.version, t.updated_at, t.origin_node)"
        return sql.SQL("(SELECT {} FROM (SELECT {} AS tie) AS x)").format(order, sql.SQL(tie))

    def check_alone(self) -> None:
        """Raises Refused where a table holds anything but exactly the snapshot's rows."""
        found = []
        for table in self.staged.structure.tables:
            standing, verdicts = self._standing(table), self.verdicts(table)
            unchanged, other = verdicts.get("unchanged", 0), verdicts.get("other", 0)
            if standing and (unchanged != standing or sum(verdicts.values()) != standing):
                lacking = sum(verdicts.values()) - unchanged - other
                rows = "1 row" if standing == 1 else f"{standing} rows"
                found.append(
                    f"{table.name} holds {rows} ({unchanged} as in the snapshot, {other} other than there,"
                    f" {standing - unchanged - other} that it has not) and lacks {lacking}"
                )
        if found:
            raise Refused(
                f"the database holds rows already: {printable('; '.join(found))}",
                hint="--merge brings the snapshot in beside them; migratectl reset empties the database",
            )

    def orphans(self, table: Table) -> None:
        """Leave out what refers to rows that neither stand nor come."""
        while sum(self._orphans(table, reference) for reference in table.references):
            # What referred to those in the same table.
            if all(reference.parent != reference.child for reference in table.references):
                return

    def _orphans(self, table: Table, reference: Reference) -> int:
        known = mapping_of(self.staged.structure.tables)
        parent = known.get(reference.parent)
        match = refers(reference, "s", "p")
        coming: sql.Composable = sql.SQL("")
        if parent is not None and parent.name not in self._done:
            coming = sql.SQL(block(FILE, "coming")).format(
                parent_stage=self.staged.stage(parent), parent_verdicts=self.staged.verdicts(parent), match=match
            )
        standing = self.staged.structure.own(parent) if parent else sql.Identifier(*reference.parent)
        return self._run(
            "orphans",
            table,
            {"constraint": reference.name},
            empty=empty(reference, "s"),
            parent=doubled(standing),
            match=match,
            coming=coming,
        )

    def done(self, table: Table) -> None:
        """The table is written: what comes of it stands now."""
        self._done.add(table.name)

    def verdicts(self, table: Table) -> dict[str, int]:
        """How many rows there are of each verdict."""
        statement = sql.SQL(block(FILE, "verdicts")).format(verdicts=self.staged.verdicts(table))
        return dict(self.staged.conn.execute(statement).fetchall())

    def _standing(self, table: Table) -> int:
        statement = sql.SQL(block(FILE, "standing")).format(own=self.staged.structure.own(table))
        row = self.staged.conn.execute(statement).fetchone()
        return int(row[0]) if row else 0

    def _run(
        self, heading: str, table: Table, values: Mapping[str, object] | None = None, **parts: sql.Composable
    ) -> int:
        statement = sql.SQL(block(FILE, heading)).format(
            **{
                "stage": self.staged.stage(table),
                "verdicts": self.staged.verdicts(table),
                "own": self.staged.structure.own(table),
                **parts,
            }
        )
        return self.staged.conn.execute(statement, values).rowcount
