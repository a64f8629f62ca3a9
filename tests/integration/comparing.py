"""Two databases compared in a test: the library called directly, and the command as a user runs it, in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import typer
from psycopg import sql

from accountdb.cli.diff import diff as command
from accountdb.cli.run import run
from accountdb.compare.columns import HashKind
from accountdb.compare.diff import comparison, diff
from accountdb.compare.model import Finding, Options, TableResult
from accountdb.pg.connect import connect
from tests.conftest import run_sql

A, B = "here", "there"

# What the servers' administrators may have set, and what must not make equal rows differ.
ODD_SETTINGS = {
    "TimeZone": "Asia/Shanghai",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "lc_monetary": "C.UTF-8",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "search_path": "nowhere",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "statement_timeout": "1min",
    "xmloption": "document",
}


@dataclass(frozen=True)
class Compared:
    """What a comparison found."""

    results: dict[str, TableResult]
    findings: list[Finding]

    def of(self, table: str) -> list[Finding]:
        """The findings of one table in public."""
        return [finding for finding in self.findings if finding.table == f"public.{table}"]


@dataclass(frozen=True)
class Two:
    """Two databases, as their administrator."""

    a: str = field(repr=False)
    b: str = field(repr=False)

    def both(self, statement: str, *params: Any) -> None:
        """One statement, or several, in each of the two."""
        for dsn in (self.a, self.b):
            run_sql(dsn, statement, *params)

    def here(self, statement: str, *params: Any) -> None:
        """One statement in the first."""
        run_sql(self.a, statement, *params)

    def there(self, statement: str, *params: Any) -> None:
        """One statement in the second."""
        run_sql(self.b, statement, *params)

    def compare(self, *tables: str, wait: Callable[[float], None] = lambda _: None, **options: Any) -> Compared:
        """What the library finds."""
        findings: list[Finding] = []
        chosen = Options(tables=tables, **{"jobs": 1, **options})
        with comparison({A: self.a, B: self.b}, chosen) as found:
            results = diff(found, chosen, wait, findings.append)
        return Compared({result.table: result for result in results}, findings)

    def kind(self) -> HashKind:
        """The hash that the two agree on."""
        with comparison({A: self.a, B: self.b}, Options()) as found:
            return found.kind

    def diff(self, *arguments: str, a: str | None = None, b: str | None = None) -> Told:
        """What the command says."""
        return told(f"--node={A}={a or self.a}", f"--node={B}={b or self.b}", *arguments)

    def set_on_first(self, settings: dict[str, str]) -> None:
        """Settings of the first database."""
        _set(self.a, settings)

    def set_on_second(self, settings: dict[str, str]) -> None:
        """Settings of the second database."""
        _set(self.b, settings)


def _set(dsn: str, settings: dict[str, str]) -> None:
    with connect(dsn, autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")
        for name, text in settings.items():
            conn.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(conn.info.dbname), sql.Identifier(name), sql.Literal(text)
                )
            )


@dataclass(frozen=True)
class Told:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What is data."""
        return self.out.splitlines()


def told(*arguments: str) -> Told:
    """``migratectl diff`` with these arguments, in this process."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("diff")(command)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = run(app, "migratectl diff", arguments)
    return Told(status, out.getvalue(), err.getvalue())


def assert_refused(outcome: Told, status: int, fact: str) -> None:
    """One clear error with a hint, the status, and nothing else."""
    assert outcome.status == status, outcome.err
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert lines[0].startswith("error: "), outcome.err
    assert lines[-1].startswith("hint: "), outcome.err
    assert all(line.startswith("  - ") for line in lines[1:-1]), outcome.err
    assert fact in outcome.err


def keys(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """The keys of findings, in their order."""
    return [tuple(finding.key.values()) for finding in findings]
