"""The package's SQL: whole files, and named blocks of files.

A block starts at a line ``-- name --`` and ends at the next one; what stands above the first
block belongs to psql (variable checks) and is not part of any block.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_HEADING = re.compile(r"^-- ([a-z][a-z0-9_]*) --$", re.MULTILINE)


def folder(name: str = "") -> Traversable:
    """The package's SQL folder, or one folder in it."""
    root = files(__name__)
    return root / name if name else root


@cache
def text(name: str) -> str:
    """The whole file ``name``, a path below the SQL folder such as ``guards/guard.sql``."""
    return (files(__name__) / name).read_text(encoding="utf-8")


@cache
def blocks(name: str) -> dict[str, str]:
    """The named blocks of the file ``name``."""
    parts = _HEADING.split(text(name))
    return {heading: body.strip() for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def block(name: str, heading: str) -> str:
    """One named block. A missing one is a programming error (KeyError)."""
    return blocks(name)[heading]
