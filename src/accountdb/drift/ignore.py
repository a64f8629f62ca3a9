"""The ignore file: differences that are meant to be, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from accountdb.drift.findings import Comparison, Finding, Ignored, together
from accountdb.errors import UsageError

_FORM = "a list of {kind, schema, name, attribute, reason}; schema and attribute may be left out, * and ? stand for any"

_Word = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1)]


class Rule(BaseModel):
    """Which differences are meant. Patterns match whole names, as the output shows them.

    ``attribute`` left out: the object whatever differs. Given: only that, and an object that is
    absent somewhere is told all the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: _Word
    schema_: Annotated[str, Field(alias="schema", strict=True)] = "*"
    name: _Word
    attribute: _Word | None = None
    reason: _Word

    def __str__(self) -> str:
        """The rule as a person would say it."""
        owner = f"{self.schema_}." if self.schema_ else ""
        return f"{self.kind} {owner}{self.name}" + (f": {self.attribute}" if self.attribute else "")

    def covers(self, finding: Finding) -> bool:
        """Whether the rule is about this object."""
        return (
            fnmatchcase(finding.kind, self.kind)
            and fnmatchcase(finding.schema, self.schema_)
            and fnmatchcase(finding.name, self.name)
        )


def read_rules(path: Path, kinds: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of the file at ``path``. ``kinds`` are those that a rule may name.

    Raises UsageError, with the rule and the key, for a file that cannot be read or is not of the form.
    """
    try:
        document = yaml.safe_load(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--ignore {path}: {error.strerror or error}", hint="name a readable YAML file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--ignore {path}: {_where(error)}", hint=_FORM) from None
    try:
        rules = TypeAdapter(tuple[Rule, ...]).validate_python(document or ())
    except ValidationError as error:
        raise UsageError(f"--ignore {path}: {_first(error)}", hint=_FORM) from None
    for number, rule in enumerate(rules, start=1):
        if not any(fnmatchcase(kind, rule.kind) for kind in kinds):
            raise UsageError(
                f"--ignore {path}: rule {number}: there is no kind {rule.kind!r}", hint=f"one of: {', '.join(kinds)}"
            )
    return rules


def _where(error: UnicodeDecodeError | yaml.YAMLError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "this is not YAML"
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    where = fault["loc"]
    rule = f"rule {int(where[0]) + 1}: " if where else ""
    key = ".".join(str(part) for part in where[1:])
    words = {"extra_forbidden": "unknown key", "missing": "is missing", "tuple_type": "is not a list"}
    said = words.get(fault["type"], f"{fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}")
    if fault["type"] == "extra_forbidden":
        return f"{rule}{said} {key!r}"
    return f"{rule}{key} {said}" if key else f"{rule or 'the file '}{said}"


def without(comparison: Comparison, rules: Sequence[Rule]) -> Comparison:
    """``comparison`` without what ``rules`` cover, and how much each of them did; pure."""
    counts = dict.fromkeys(range(len(rules)), 0)
    left = []
    for finding in comparison.findings:
        remaining: Finding | None = finding
        for number, rule in enumerate(rules):
            if remaining is not None and (narrowed := _narrowed(remaining, rule)) != remaining:
                counts[number] += 1
                remaining = narrowed
        if remaining is not None:
            left.append(remaining)
    ignored = tuple(Ignored(str(rule), rule.reason, counts[number]) for number, rule in enumerate(rules))
    return replace(comparison, findings=tuple(left), ignored=ignored)


def _narrowed(finding: Finding, rule: Rule) -> Finding | None:
    """What of ``finding`` is not covered; None for nothing."""
    if not rule.covers(finding):
        return finding
    if rule.attribute is None:
        return None
    if finding.absent:
        return finding
    kept = tuple(each for each in finding.attributes if not fnmatchcase(each.attribute, rule.attribute))
    return replace(finding, attributes=kept, deviates=together(kept)) if kept else None
