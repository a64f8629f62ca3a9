"""The file that pgsync reads: jobs, validated whole before anything is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from accountdb.errors import UsageError
from accountdb.pg import dsn as dsns

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}
_NAME_BYTES = 63
_YAML = "the file is YAML: jobs, each with its tables"


class Policy(StrEnum):
    """What becomes of the destination's own rows."""

    MIRROR = "mirror"
    """The destination becomes the source."""
    MERGE = "merge"
    """The row order decides; two such jobs, one each way, are a two-way sync."""


def _duration(value: Any) -> Any:
    """``30s``, ``500ms``, ``2m``, ``1h`` or a number of seconds."""
    if isinstance(value, bool):
        raise ValueError("a duration such as 30s")  # noqa: TRY004 - pydantic turns only ValueError into a message
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("a duration such as 30s, 500ms, 2m or 1h")
        return float(match["count"]) * _SECONDS[match["unit"]]
    return value


def _identifier(value: str) -> str:
    if not 0 < len(value.encode()) <= _NAME_BYTES or "\0" in value:
        raise ValueError(f"a name of 1 to {_NAME_BYTES} bytes, as the catalog writes it")
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
Seconds = Annotated[float, BeforeValidator(_duration), Field(gt=0, le=86_400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Endpoint(_Strict):
    """One side of a job. The DSN may hold a password: it is never shown."""

    dsn: str = Field(repr=False)


class TableOptions(_Strict):
    """One table of a job. ``columns`` none: all. Generated ones are never written."""

    delete: bool = True
    columns: tuple[Identifier, ...] = ()

    @field_validator("columns", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, list):
            doubled = sorted({str(name) for name in value if value.count(name) > 1})
            if doubled:
                raise ValueError(f"each column once, not twice: {', '.join(doubled)}")
            return tuple(value)
        raise ValueError("a list of columns: [uuid, username]")


class Job(_Strict):
    """One job: some tables of one schema, from a source to a destination."""

    source: Endpoint
    destination: Endpoint
    # Not called schema: pydantic's models have an attribute of that name.
    schema_name: Identifier = Field("public", alias="schema")
    policy: Policy = Field(Policy.MIRROR, strict=False)
    tables: Mapping[Identifier, TableOptions] = Field(min_length=1)
    batch_size: int = Field(5000, ge=1, le=1_000_000)
    snapshot: bool = True
    poll_interval: Seconds = 30.0

    @field_validator("tables", mode="before")
    @classmethod
    def _empty_entries(cls, value: Any) -> Any:
        """``sessions:`` with nothing behind it means all defaults."""
        if isinstance(value, dict):
            return {name: {} if options is None else options for name, options in value.items()}
        return value


class Config(_Strict):
    """All jobs of a file, by name."""

    jobs: Mapping[Identifier, Job] = Field(min_length=1)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently take the last one."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise UsageError(
                f"line {key_node.start_mark.line + 1}: the key {key} stands twice", hint="keep one of them"
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """The jobs in ``path``; ``${NAME}`` is taken from the environment.

    Raises UsageError, which names every key that is wrong with what is accepted there, and no secret.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"--config {path}: {reason}", hint="--config names the job file") from error
    except UnicodeDecodeError:
        raise UsageError(f"--config {path} is not UTF-8 text", hint="--config names the job file") from None
    return parse(text, name=str(path), environment=os.environ if environment is None else environment)


def parse(text: str, *, name: str, environment: Mapping[str, str]) -> Config:
    """The jobs in ``text``. ``name`` is how messages call it."""
    try:
        found = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{name}: {line}{error.problem}", hint=_YAML) from None
    except yaml.YAMLError:
        raise UsageError(f"{name} cannot be read as YAML", hint=_YAML) from None
    try:
        config = Config.model_validate(_filled(found, environment, ()))
    except ValidationError as error:
        raise UsageError(_told(name, error), hint="account/sql/pgsync.users.example.yaml shows every key") from None
    for job, settings in config.jobs.items():
        for side in ("source", "destination"):
            dsns.parse(getattr(settings, side).dsn, name=f"jobs.{job}.{side}.dsn")
    return config


def _filled(value: Any, environment: Mapping[str, str], path: tuple[str, ...]) -> Any:
    """``value`` with every ``${NAME}`` in its texts replaced. Keys are taken as they are."""
    if isinstance(value, dict):
        return {key: _filled(found, environment, (*path, str(key))) for key, found in value.items()}
    if isinstance(value, list):
        return [_filled(found, environment, path) for found in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        found = environment.get(match[1])
        if found is None:
            raise UsageError(
                f"{'.'.join(path)}: the environment has no {match[1]}", hint=f"export {match[1]}=... before pgsync runs"
            )
        return found

    return _VARIABLE.sub(replaced, value)


def _told(name: str, error: ValidationError) -> str:
    """Every fault on a line, by its key. Values are left out where they may be secret."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "no such key"
        shown = fault.get("input")
        value = f" {shown!r}" if isinstance(shown, (int, float, bool)) or _harmless(fault["loc"], shown) else ""
        lines.append(f"{key}{value}: {message}")
    if len(lines) == 1:
        return f"{name}: {lines[0]}"
    return "\n".join([f"{name}, {len(lines)} problems:", *(f"  - {line}" for line in lines)])


def _harmless(location: tuple[int | str, ...], value: Any) -> bool:
    return isinstance(value, str) and bool(location) and location[-1] in ("policy", "poll_interval", "schema")
