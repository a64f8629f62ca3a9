"""Showing what a command did, step by step."""

from __future__ import annotations

from accountdb.render import output
from accountdb.setup.report import Outcome, Report


def show(report: Report) -> None:
    """Every step on stderr: what changed, what was in place, what is left to do."""
    for step in report.steps:
        detail = f": {step.detail}" if step.detail else ""
        if step.outcome is Outcome.WARNING:
            output.tell(f"warning: {step.step}{detail}", style="yellow")
        elif step.outcome is Outcome.DONE:
            output.tell(f"done: {step.step}{detail}")
        else:
            output.tell(f"ok: {step.step}{detail}")
        if step.hint:
            output.tell(f"hint: {step.hint}")
