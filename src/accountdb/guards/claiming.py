"""The part of a guard that settles unique claims (design 4.2). Pure."""

from __future__ import annotations

from psycopg import sql

from accountdb.catalog.tables import Table, UniqueIndex
from accountdb.contract.claims import Claim, Settlement, claims, same_claim
from accountdb.guards.template import comment_text, filled, names_of


def settlements(table: Table) -> sql.Composed:
    """One settlement for each unique index, in the order of their names."""
    return sql.SQL("\n            ").join(_settlement(table, claim) for claim in claims(table))


def _settlement(table: Table, claim: Claim) -> sql.Composed:
    names = names_of(table)
    if claim.settlement is Settlement.PARK or claim.column is None:
        incoming_loses, rival_loses = filled("incoming_parked", **names), filled("rival_parked", **names)
    else:
        column = sql.Identifier(claim.column.name)
        incoming_loses = filled("incoming_released", column=column, incoming_value=_released(claim, "incoming"))
        rival_loses = filled("rival_released", column=column, rival_value=_released(claim, "rival"), **names)
    return filled(
        "claim",
        index=comment_text(claim.index.name),
        index_name=sql.Literal(claim.index.name),
        match=same_claim(claim.index, "incoming"),
        incoming_identity=_identity(claim.index, "incoming"),
        rival_identity=_identity(claim.index, "rival"),
        incoming_loses=incoming_loses,
        rival_loses=rival_loses,
        **names,
    )


def _released(claim: Claim, row: str) -> sql.Composable:
    """What the loser holds instead. The whole uuid is taken when the short form was no way out."""
    if claim.settlement is Settlement.EMPTY or claim.column is None:
        return sql.SQL("NULL")
    return sql.SQL(
        "accountdb.released_value({row}.{column}::text, {row}.uuid, {limit}, accountdb_attempt > 1)::{type}"
    ).format(
        row=sql.SQL(row),
        column=sql.Identifier(claim.column.name),
        limit=sql.Literal(claim.max_length),
        type=sql.SQL(claim.column.type),
    )


def _identity(index: UniqueIndex, row: str) -> sql.Composed:
    """What makes the event one: the index, the value that was claimed, and when. A release keeps updated_at."""
    values = [sql.SQL("{}.{}").format(sql.SQL(row), sql.Identifier(name)) for name in index.columns]
    values.append(sql.SQL("{}.updated_at").format(sql.SQL(row)))
    return sql.SQL("jsonb_build_array({}, {})").format(sql.Literal(index.name), sql.SQL(", ").join(values))
