"""What a merge job needs besides: whole rows under the row contract, guards in both regions, and its ledgers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from accountdb.contract.row_contract import violations
from accountdb.guards.install import GuardState, TableGuard, states
from accountdb.replication import common
from accountdb.sync.config import Job, TableOptions
from accountdb.sync.model import DESTINATION, SOURCE, SyncTable
from accountdb.sync.preflight import Problems, sync_tables
from accountdb.sync.side import Side

# accountdb's own tables that every region has to know whole.
LEDGERS = ("tombstone", "resolution")
_SCHEMA = "accountdb"
_HOW_TO_GUARD = "pgsync --install-capture puts guards and capture on both sides; migratectl init comes first"


def check_job(name: str, job: Job, asked: Sequence[str]) -> None:
    """Raises UsageError for what a merge job cannot be told to do."""
    problems = Problems()
    for table, options in job.tables.items():
        title = f"{job.schema_name}.{table}"
        if options.columns:
            problems.usage.append(
                f"{title}: policy merge takes whole rows, columns {', '.join(options.columns)} do not"
            )
        if not options.delete:
            problems.usage.append(f"{title}: delete: false cannot be, policy merge has deletes win in both regions")
    if asked and {*asked} != {*job.tables}:
        problems.usage.append(f"policy merge brings all tables of a job together, not {', '.join(asked)} alone")
    problems.check(name)


def check_mergeable(name: str, tables: Sequence[SyncTable], source: Side, target: Side) -> None:
    """Raises Refused with everything that keeps these tables from being merged."""
    problems = Problems()
    sides = (source, target)
    for table in tables:
        problems.refused += _unlike(table)
        for name_, one in ((SOURCE, table.source), (DESTINATION, table.target)):
            problems.refused += [f"{name_}: {table.title} is not under the row contract: {v}" for v in violations(one)]
    problems.usage += _lacking_parents(tables)
    problems.check(name)
    nodes = [_node(side) for side in sides]
    if nodes[0] is not None and nodes[0] == nodes[1]:
        problems.refused.append(f"both sides call their node {nodes[0]}: the row order needs two names")
        problems.hint = "migratectl init --mode pgsync --node NAME, another name in each region"
    problems.check(name)
    for side in sides:
        problems.refused += _unguarded(side, tables)
    problems.hint = _HOW_TO_GUARD
    problems.check(name)


def ledgers(name: str, source: Side, target: Side) -> tuple[SyncTable, ...]:
    """The ledgers as both sides have them. Raises Refused where one lacks them, or a right on them."""
    problems = Problems(hint="migratectl init, in both regions; run pgsync as the role that did")
    options: Mapping[str, TableOptions] = {ledger: TableOptions(delete=False) for ledger in LEDGERS}
    found = sync_tables(_SCHEMA, options, source, target, problems)
    # A table that is missing is nothing that the job file can mend.
    problems.refused, problems.usage = problems.refused + problems.usage, []
    problems.check(name)
    return found


def _unlike(table: SyncTable) -> list[str]:
    """Columns that one side lacks, or has otherwise: whole rows could not be compared."""
    kinds = [{c.name: (c.base_type, c.generated) for c in side.columns} for side in (table.source, table.target)]
    differ = sorted(name for name in kinds[0].keys() | kinds[1].keys() if kinds[0].get(name) != kinds[1].get(name))
    return [f"{table.title}: {', '.join(differ)} is not the same on both sides"] if differ else []


def _lacking_parents(tables: Sequence[SyncTable]) -> list[str]:
    names = {table.name for table in tables}
    return [
        f"{table.title} refers to {'.'.join(reference.parent)}, which has to be in the job too"
        for table in tables
        for reference in table.target.references
        if reference.parent not in names
    ]


def _node(side: Side) -> str | None:
    with side.use() as conn:
        return common.node(conn)[0]


def guarded(job: Job, side: Side) -> bool:
    """Whether the guards of all tables of the job that are there are current."""
    return not _stale(side, job.schema_name, job.tables)


def _unguarded(side: Side, tables: Sequence[SyncTable]) -> list[str]:
    found = _stale(side, tables[0].name[0], [table.name[1] for table in tables])
    return [f"{side.name}: the guard of {guard.schema}.{guard.table} is {guard.state}" for guard in found]


def _stale(side: Side, schema: str, names: Collection[str]) -> list[TableGuard]:
    known = side.tables(schema)
    meant = [table for table in known if table.name in names]
    with side.use() as conn:
        return [guard for guard in states(conn, meant, known) if guard.state is not GuardState.INSTALLED]
