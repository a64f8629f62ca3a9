"""What may be shown of a row: secrets are masked, at any depth, whoever asks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Content = Mapping[str, Any]

MASK = "***"
ALWAYS = frozenset({"password", "token", "mfa_totp_secret"})
_SHORTEST_SCRUBBED = 3


@dataclass(frozen=True)
class Secrets:
    """The columns that are secret: those of every table, and those that a column's comment declares."""

    declared: Mapping[tuple[str, str], frozenset[str]]

    def names(self, table: tuple[str, str]) -> frozenset[str]:
        """The secret columns of one table, in lower case."""
        return ALWAYS | {name.casefold() for name in self.declared.get(table, ())}

    def hides(self, table: tuple[str, str], column: str) -> bool:
        """Whether a column's value is never shown."""
        return column.casefold() in self.names(table)

    def masked(self, table: tuple[str, str], content: Content | None) -> dict[str, Any] | None:
        """A row to show. A secret that is NULL stays NULL: that there is none is no secret."""
        if content is None:
            return None
        names = self.names(table)
        return {key: _masked(key, value, names) for key, value in content.items()}

    def scrubbed(self, table: tuple[str, str], text: str, rows: Iterable[Content | None]) -> str:
        """``text`` (a server's message) without any secret of ``rows``."""
        names = self.names(table)
        found = {secret for row in rows if row is not None for secret in _secret_texts(row, names)}
        for secret in sorted(found, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text


def _masked(key: str, value: Any, names: frozenset[str]) -> Any:
    if value is not None and key.casefold() in names:
        return MASK
    if isinstance(value, Mapping):
        return {inner: _masked(inner, found, names) for inner, found in value.items()}
    if isinstance(value, list):
        return [_masked("", found, names) for found in value]
    return value


def _secret_texts(value: Any, names: frozenset[str], *, secret: bool = False) -> Iterable[str]:
    """Every text that stands at or below a secret key."""
    if isinstance(value, Mapping):
        for key, found in value.items():
            yield from _secret_texts(found, names, secret=secret or key.casefold() in names)
    elif isinstance(value, list):
        for found in value:
            yield from _secret_texts(found, names, secret=secret)
    elif secret and value is not None and len(str(value)) >= _SHORTEST_SCRUBBED:
        yield str(value)


def union(parts: Iterable[Mapping[tuple[str, str], frozenset[str]]]) -> Secrets:
    """What any region declares is secret everywhere."""
    declared: dict[tuple[str, str], frozenset[str]] = {}
    for part in parts:
        for table, names in part.items():
            declared[table] = declared.get(table, frozenset()) | names
    return Secrets(declared)


def printable(text: str) -> str:
    """One line that does nothing to a terminal: control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
