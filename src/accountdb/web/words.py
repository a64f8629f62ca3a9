"""The words of the pages, in English and Chinese, out of one catalogue: words.yaml. Pure, but for reading that file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Words:
    """One language. A key that is not there is an error: a test says that both languages have the same keys."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text of ``key``, with ``values`` in the place of their names."""
        return self.texts[key].format(**values)

    def parts(self, key: str) -> list[str]:
        """The text of ``key`` cut at its names in braces, which stay as parts of their own."""
        return [part for part in re.split(r"(\{[a-z]+\})", self.texts[key]) if part]

    def known(self, key: str, otherwise: str) -> str:
        """The text of ``key`` where there is one: for what the database may know more kinds of."""
        return self.texts.get(key, otherwise)


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Every key, with its text in each language."""
    text = files("accountdb").joinpath("web/words.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.safe_load(text)
    return found


@cache
def words(language: str) -> Words:
    """The words of ``language``, one of LANGUAGES."""
    return Words(language, {key: texts[language] for key, texts in catalogue().items()})


def preferred(accept_language: str) -> str:
    """The language that a browser asks for by its header Accept-Language; English where it asks for neither."""
    wanted: list[tuple[float, int, str]] = []
    for at, part in enumerate(accept_language[:1000].split(",")):
        tag, _, weight = part.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        if language not in LANGUAGES:
            continue
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if quality > 0:
            wanted.append((-quality, at, language))
    return min(wanted)[2] if wanted else LANGUAGES[0]
