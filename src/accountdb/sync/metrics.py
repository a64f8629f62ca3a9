"""A pass as Prometheus text, for node_exporter's textfile collector. Pure, but for ``write``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from accountdb.errors import UsageError
from accountdb.sync.model import Counts, Receipt

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def text(receipts: Mapping[str, Receipt], finished: float) -> str:
    """The last pass of each job. ``finished`` is the moment of the last one, in seconds since 1970."""
    lines = [
        *_family(
            "accountdb_pgsync_last_pass_timestamp_seconds", "When the last pass ended.", _each(receipts, finished)
        ),
        *_family(
            "accountdb_pgsync_pass_seconds",
            "How long the last pass took.",
            ((_labels(job=job), receipt.seconds) for job, receipt in receipts.items()),
        ),
        *_family(
            "accountdb_pgsync_lag_seconds",
            "How old the destination's state was when the last pass ended.",
            ((_labels(job=job), receipt.lag_seconds) for job, receipt in receipts.items()),
        ),
        *_family(
            "accountdb_pgsync_rows",
            "Rows of the last pass, by table and by what became of them.",
            (
                (_labels(job=job, table=table, what=what.name), getattr(counts, what.name))
                for job, receipt in receipts.items()
                for table, counts in receipt.tables.items()
                for what in fields(Counts)
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _each(receipts: Mapping[str, Receipt], value: float) -> Iterable[tuple[str, float]]:
    return ((_labels(job=job), value) for job in receipts)


def _family(name: str, help_: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} gauge", *(f"{name}{labels} {value}" for labels, value in samples)]


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


def write(path: Path, content: str) -> None:
    """Put ``content`` in place of the file, whole or not at all. Raises UsageError where it cannot be written."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            # Readable for the collector: there is no secret in it.
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise UsageError(
            f"--metrics-file {path}: {error.strerror}", hint="a file in a folder that pgsync may write"
        ) from None
