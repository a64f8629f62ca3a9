"""Numbers for people: short, with a unit, aligned by their last digit. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

DASH = "–"


def bytes_text(count: float | None) -> str:
    """A number of bytes; a dash for None."""
    if count is None:
        return DASH
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def seconds_text(seconds: float | None) -> str:
    """A duration; a dash for None."""
    if seconds is None:
        return DASH
    if abs(seconds) < 0.995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if abs(seconds) < 99.5:
        return f"{seconds:.1f} s"
    sign, whole = ("-", round(-seconds)) if seconds < 0 else ("", round(seconds))
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{sign}{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{sign}{whole} s"


def age_text(seconds: float | None) -> str:
    """How long ago, in whole seconds; a dash for None."""
    if seconds is None:
        return DASH
    whole = max(int(seconds), 0)
    return f"{whole} s" if whole < 100 else seconds_text(whole)


def rate_text(value: float | None) -> str:
    """So many a second; a dash for None."""
    if value is None:
        return DASH
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def count_text(value: int | None) -> str:
    """A number; a dash for None."""
    return DASH if value is None else f"{value:,}".replace(",", "\u202f")


def moment(when: datetime | None) -> str:
    """A time, in UTC."""
    return DASH if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
