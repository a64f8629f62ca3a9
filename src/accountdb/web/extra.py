"""The optional packages of this room: what is said where they are missing."""

from __future__ import annotations

from importlib.util import find_spec

from accountdb.errors import UsageError

_PACKAGES = ("jinja2", "prometheus_client", "starlette", "uvicorn")


def require() -> None:
    """Raises UsageError, with the command that installs them, where a package of the extra ``web`` is missing."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this command needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint="pip install 'accountdb[web]'",
        )
