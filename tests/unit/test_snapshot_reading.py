"""Reading snapshots without a server: as they were written, edited, cut, damaged, and what is none."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from accountdb.errors import AccountdbError
from accountdb.snapshot.jsonl import JsonlReader
from accountdb.snapshot.layout import Reader, quoted, safe
from accountdb.snapshot.model import Header
from accountdb.snapshot.origin import EarlyEndError, Lines, origin
from accountdb.snapshot.yaml import YamlReader, YamlWriter

COLUMNS = ("uuid", "yes", "a: b")
HEADER = {
    "format": "accountdb-snapshot",
    "format_version": 1,
    "taken_at": "2026-01-01T00:00:00.000000Z",
    "server_version": "17",
    "node": "local",
    "fingerprint": "f",
    "tables": [
        {
            "name": name,
            "columns": [{"name": c, "type": "text", "not_null": False, "generated": False} for c in COLUMNS],
        }
        for name in ("users", "null", "sessions")
    ],
}
ROWS: dict[str, list[list[str | None]]] = {
    "users": [["1", "x", None], ["2", "end:\nrows:", "null"], ["3", "\\ \" ' 😀 \u2028", ""]],
    "null": [],
    "sessions": [["4", None, "~"], ["5", "- a: {b", "#"]],
}


def written(layout: str, rows: dict[str, list[list[str | None]]] = ROWS) -> bytes:
    """A snapshot as ``migratectl export`` writes it."""
    counts = {name: len(found) for name, found in rows.items()}
    if layout == "jsonl":
        lines: list[Any] = [{"snapshot": HEADER}]
        lines += [
            {"table": name, "row": dict(zip(COLUMNS, row, strict=True))}
            for name, found in rows.items()
            for row in found
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        end = json.dumps(
            {"end": {"counts": counts, "sha256": hashlib.sha256(text.encode()).hexdigest()}}, separators=(",", ":")
        )
        return (text + end + "\n").encode()
    text = YamlWriter().start(_header())
    for name, found in rows.items():
        key = '"null"' if name == "null" else name
        text += f"  {key}:\n" if found else f"  {key}: []\n"
        for one, two, three in found:
            text += f'    - uuid: {quoted(one)}\n      "yes": {quoted(two)}\n      "a: b": {quoted(three)}\n'
    end = f"end:\n  counts:\n{''.join(f'    {quoted(n)}: {c}{chr(10)}' for n, c in counts.items())}"
    return f'{text}{end}  sha256: "{hashlib.sha256(text.encode()).hexdigest()}"\n'.encode()


def _header() -> Header:
    from accountdb.snapshot.layout import parsed_header

    return parsed_header("", HEADER)


def reader(data: bytes) -> tuple[Reader, Lines]:
    lines = Lines("FILE", io.BytesIO(data))
    return (JsonlReader(lines) if lines.first() == "{" else YamlReader(lines)), lines


def read(data: bytes) -> dict[str, list[list[str | None]]]:
    """All rows. Raises AccountdbError where the file is not whole, or not as it was written."""
    found, edited = read_edited(data)
    assert not edited
    return found


def read_file(file: Path) -> None:
    """A file, to its end."""
    with origin(str(file)) as lines:
        found = JsonlReader(lines) if lines.first() == "{" else YamlReader(lines)
        found.header()
        list(found.rows())
        found.trailer()


def read_edited(data: bytes) -> tuple[dict[str, list[list[str | None]]], bool]:
    """All rows, and whether the checksum or a count is another one."""
    found, lines = reader(data)
    header = found.header()
    rows: dict[str, list[list[str | None]]] = {table.name: [] for table in header.tables}
    for table, batch in found.rows():
        rows[table] += [list(values) for values in batch]
    end = found.trailer()
    whole = end.sha256 == lines.sha256 and end.counts == {name: len(listed) for name, listed in rows.items()}
    return rows, not whole


LAYOUTS = pytest.mark.parametrize("layout", ["yaml", "jsonl"])


@LAYOUTS
def test_what_was_written_is_read(layout: str) -> None:
    assert read(written(layout)) == ROWS


@LAYOUTS
def test_many_rows_in_many_blocks(layout: str) -> None:
    rows = {
        "users": [[str(n), "x" * 700, None] for n in range(5000)],
        "null": [],
        "sessions": [["1", None, None]] * 1501,
    }
    assert read(written(layout, rows)) == rows


@LAYOUTS
def test_a_snapshot_that_was_cut_anywhere_is_never_taken_for_a_whole_one(layout: str) -> None:
    data = written(layout)
    for length in range(len(data.rstrip())):
        with pytest.raises(AccountdbError) as caught:
            read_edited(data[:length])
        if length > data.index(b"users") + 2000:
            assert isinstance(caught.value, EarlyEndError), (length, caught.value)


@LAYOUTS
def test_every_byte_that_is_changed_shows(layout: str) -> None:
    data = written(layout)
    for place in range(0, len(data) - 1):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            rows, edited = read_edited(changed)
        except AccountdbError:
            continue
        assert edited or rows == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@LAYOUTS
def test_a_packed_snapshot_that_was_cut_is_told(tmp_path: Path, layout: str, pack: Any) -> None:
    data = pack(written(layout, {**ROWS, "users": [[str(n), str(n * n), None] for n in range(300)]}))
    for length in range(5, len(data) - 9, 97):
        file = tmp_path / "s"
        file.write_bytes(data[:length])
        with pytest.raises(AccountdbError):
            read_file(file)


def test_yaml_that_a_person_has_edited() -> None:
    text = written("yaml").decode()
    text = text.replace('"x"', "plain text # with a comment").replace('"2"', "2")
    text = text.replace("  sessions:\n", "\n# here are the sessions\n  sessions:\n")
    rows, edited = read_edited(text.encode())
    assert edited
    assert rows["users"][0] == ["1", "plain text", None]
    assert rows["users"][1][0] == "2"
    assert rows["sessions"] == ROWS["sessions"]


def test_yaml_in_another_style() -> None:
    document = yaml.safe_load(written("yaml"))
    for style in (False, True, None):
        parts = [yaml.safe_dump({key: document[key]}, default_flow_style=style, sort_keys=False) for key in document]
        # The three parts of the file begin in the first column, whatever is in them.
        text = "".join(part if style is not True else part.strip()[1:-1] + "\n" for part in parts)
        assert read_edited(text.encode()) == (ROWS, True)


def test_yaml_with_the_line_ends_of_windows() -> None:
    assert read_edited(written("yaml").replace(b"\n", b"\r\n")) == (ROWS, True)


def test_json_lines_with_the_line_ends_of_windows_and_spaces() -> None:
    text = written("jsonl").replace(b"\n", b"\r\n").replace(b'{"end":', b'{ "end" :')
    assert read_edited(text) == (ROWS, True)


def test_numbers_in_json_lines_are_text_as_they_stand() -> None:
    rows, edited = read_edited(written("jsonl").replace(b'"1"', b"1.50").replace(b'"x"', b"true"))
    assert (rows["users"][0], edited) == (["1.50", "true", None], True)


@pytest.mark.parametrize(
    ("layout", "old", "new", "said"),
    [
        ("yaml", '      "yes": "x"\n', "", "row 1 of users lacks yes"),
        ("yaml", '      "yes": "x"\n', '      "yes": "x"\n      "yes": "y"\n', "row 1 of users has yes twice"),
        (
            "yaml",
            '      "yes": "x"\n',
            '      "yes": "x"\n      no: "y"\n',
            "row 1 of users has no, which the header has not",
        ),
        ("yaml", '"yes": "x"', '"yes": [x]', "row 1 of users has no text in yes"),
        ("yaml", '"yes": "x"', '"yes": &a x\n      other: *a', "row 1 of users has no text in other"),
        ("yaml", '"yes": "x"', '"yes": "x', "is not YAML that can be read"),
        ("yaml", '"yes": "x"', '"yes": "\\q"', "is not YAML that can be read"),
        ("yaml", "  sessions:\n", "  strangers:\n", "its header has no table strangers"),
        ("yaml", "rows:\n", "rows: {}\nmore:\n", "more is no part of a snapshot"),
        ("yaml", "rows:\n", "rows: none\n", "rows is not a mapping of tables"),
        ("yaml", "end:\n", "---\nend:\n", "another document follows"),
        ("yaml", "format_version: 1", "format_version: 2", "has format_version 2, this program reads 1"),
        ("jsonl", '"yes": "x"', '"yes": ["x"]', "row 1 of users has a value that is neither text nor null"),
        ("jsonl", '"yes": "x", ', "", "row 1 of users lacks yes"),
        ("jsonl", '"yes": "x"', '"yes": "x", "no": "y"', "row 1 of users has no, which the header has not"),
        ("jsonl", '"table": "sessions"', '"table": ["sessions"]', "its header has no table"),
        ("jsonl", '{"uuid": "4"', '{"uuid" "4"', "line 5 is not a document of a snapshot"),
        ("jsonl", '"row": {"uuid": "4"', '"row": "x", "y": {"uuid": "4"', "row 1 of sessions is no mapping"),
    ],
)
def test_what_is_wrong_is_told(layout: str, old: str, new: str, said: str) -> None:
    text = written(layout).decode()
    assert old in text
    with pytest.raises(AccountdbError) as caught:
        read_edited(text.replace(old, new, 1).encode())
    assert said in caught.value.message
    assert "\n" not in caught.value.message


@LAYOUTS
def test_what_follows_the_end_is_told(layout: str) -> None:
    more = {"yaml": b"more: 1\n", "jsonl": b'{"table": "users", "row": {}}\n'}
    with pytest.raises(AccountdbError):
        read_edited(written(layout) + more[layout])
    assert read(written(layout) + b"\n\n") == ROWS


@pytest.mark.parametrize(
    "data",
    [
        b"-- PostgreSQL database dump\n",
        b"PGDMP\x01\x0e",
        b"{}",
        b"[]\n",
        b'{"accountdb_undo": 1}\n',
        b"jobs:\n  users:\n",
        b"a" * 3_000_000,
        b"snapshot:\n  format: else\nrows:\n",
        b"snapshot: [[[[\nrows:\n",
        b"snapshot:\n  format: accountdb-snapshot\n  format_version: 1\nrows:\n",
        b"\x00\x01\x02\xff",
        "ÿ".encode("utf-16"),
        b'{"snapshot":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_another_file_is_no_snapshot(data: bytes) -> None:
    with pytest.raises(AccountdbError) as caught:
        read_edited(data)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


def test_one_endless_line_is_not_read_whole() -> None:
    class Zeros:
        def __init__(self) -> None:
            self.read_bytes = 0

        def read(self, size: int, /) -> bytes:
            self.read_bytes += size
            return b"{" * size

    endless = Zeros()
    with pytest.raises(AccountdbError, match="a line of more than 256 MB"):
        Lines("FILE", endless).first()
    assert endless.read_bytes < 300 << 20


@given(st.text())
def test_text_means_the_same_in_yaml_and_json(text: str) -> None:
    line = quoted(text)
    assert json.loads(line) == text
    assert yaml.safe_load(f"a: {line}\n") == {"a": text}
    if line.isprintable():
        assert safe(json.dumps(text, ensure_ascii=False).encode()).decode() == line
