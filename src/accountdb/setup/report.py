"""What a command did, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a step ended. A warning is something that the reader has to do or to know."""

    DONE = "done"
    UNCHANGED = "unchanged"
    WARNING = "warning"


@dataclass(frozen=True)
class StepReport:
    """One step: what it was, how it ended, and the next command where there is one."""

    step: str
    outcome: Outcome
    detail: str = ""
    hint: str | None = None


@dataclass
class Report:
    """The steps of one command, in order."""

    steps: list[StepReport] = field(default_factory=list)

    def done(self, step: str, detail: str = "") -> None:
        """Add a step that changed something."""
        self.steps.append(StepReport(step, Outcome.DONE, detail))

    def unchanged(self, step: str, detail: str = "") -> None:
        """Add a step that found everything in place."""
        self.steps.append(StepReport(step, Outcome.UNCHANGED, detail))

    def warn(self, step: str, detail: str, hint: str | None = None) -> None:
        """Add a step that was left out, or left something to do."""
        self.steps.append(StepReport(step, Outcome.WARNING, detail, hint))
