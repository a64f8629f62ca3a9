"""What both layouts share: the header and the trailer as documents, and text that is safe in YAML and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol

from psycopg import sql
from pydantic import TypeAdapter, ValidationError

from accountdb.catalog.tables import Table
from accountdb.contract.masking import printable
from accountdb.errors import AccountdbError
from accountdb.snapshot.model import FORMAT, VERSION, Header, TableShape, Trailer, Values

_LONGEST = 200
_HINT = "a file of migratectl export"
# Characters that YAML does not take as they are, or takes for the end of a line. JSON escapes what is below them.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_UNSAFE_BYTES = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]")

_header: TypeAdapter[Header] = TypeAdapter(Header)
_trailer: TypeAdapter[Trailer] = TypeAdapter(Trailer)


class Writer(Protocol):
    """One layout, to write it."""

    def start(self, header: Header) -> str:
        """What stands before the rows."""

    def open(self, table: TableShape, *, empty: bool) -> str:
        """What stands before the rows of one table."""

    def row(self, table: Table) -> sql.Composable:
        """An expression over row t of ``table``: its text in the file, with the end of its line."""

    def end(self, trailer: Trailer) -> str:
        """The trailer."""


class Reader(Protocol):
    """One layout, to read it from its start to its end, once."""

    def header(self) -> Header:
        """What stands before the rows. Raises AccountdbError for a file that is no snapshot."""

    def rows(self) -> Iterator[tuple[str, list[Values]]]:
        """The rows, many of one table at a time, in the order of the file. Raises AccountdbError for a bad one."""

    def trailer(self) -> Trailer:
        """What stands after the rows. Raises EarlyEndError where there is none."""


def quoted(text: str | None) -> str:
    """Text as JSON, which is YAML too."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def safe(data: bytes) -> bytes:
    """JSON that PostgreSQL wrote, made safe for YAML."""
    if _UNSAFE_BYTES.search(data) is None:
        return data
    return _UNSAFE_BYTES.sub(lambda found: f"\\u{ord(found[0].decode()):04x}".encode(), data)


def header_document(header: Header) -> dict[str, Any]:
    """The header as it stands in the file."""
    found = asdict(header)
    if header.email is None:
        del found["email"]
    return found


def parsed_header(name: str, document: Any) -> Header:
    """The header out of the file ``name``."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise AccountdbError(f"{name} is not a snapshot of accountdb", hint=_HINT)
    version = str(document.get("format_version"))
    if version != str(VERSION):
        raise AccountdbError(
            f"{name} has format_version {shown(version)}, this program reads {VERSION}",
            hint="use the program that wrote it, or a newer one",
        )
    try:
        return _header.validate_python(document)
    except ValidationError as error:
        raise AccountdbError(f"{name}: its header cannot be read: {_first(error)}", hint=_HINT) from None


def parsed_trailer(name: str, document: Any) -> Trailer:
    """The trailer out of the file ``name``."""
    try:
        return _trailer.validate_python(document)
    except ValidationError as error:
        raise AccountdbError(f"{name}: its end cannot be read: {_first(error)}", hint=_HINT) from None


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    return shown(f"{'.'.join(map(str, found['loc']))}: {found['msg']}")


def shown(text: str) -> str:
    """What a file says, in a message: on one line, and not for ever."""
    line = printable(text)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."


def bad_row(name: str, table: str, number: int, what: str) -> AccountdbError:
    """A row that is none. Without its values: they may be secret."""
    return AccountdbError(
        f"{name}: row {number} of {shown(table)} {shown(what)}", hint="every row has every column, as text or null"
    )


def unknown_table(name: str, table: str) -> AccountdbError:
    """Rows of a table that the header does not have."""
    return AccountdbError(f"{name}: its header has no table {shown(table)}", hint=_HINT)
