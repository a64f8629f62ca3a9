"""Folders of migrations for tests."""

from __future__ import annotations

from pathlib import Path

FIVE = {
    "0001_tags.up.sql": "CREATE TABLE public.tags (id integer PRIMARY KEY, name text);",
    "0001_tags.down.sql": "DROP TABLE public.tags;",
    "0002_color.up.sql": "ALTER TABLE public.tags ADD COLUMN color text DEFAULT 'red; not blue';",
    "0002_color.down.sql": "ALTER TABLE public.tags DROP COLUMN color;",
    "0003_notes.up.sql": "CREATE TABLE public.notes (id integer);\n\nCREATE INDEX notes_idx ON public.notes (id);",
    "0003_notes.down.sql": "DROP TABLE public.notes;",
    "0004_twice.up.sql": (
        "CREATE FUNCTION public.twice(n integer) RETURNS integer LANGUAGE sql AS $body$ SELECT n; SELECT n * 2; $body$;"
    ),
    "0004_twice.down.sql": "DROP FUNCTION public.twice(integer);",
    "0005_view.up.sql": "CREATE VIEW public.names AS SELECT name FROM public.tags;",
    "0005_view.down.sql": "DROP VIEW public.names;",
}
APART = "-- accountdb: no-transaction\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write ``files`` into ``folder``, which is made; those that are there stay."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
