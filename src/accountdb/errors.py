"""What can go wrong, and the exit status that each kind of failure gives to the caller.

Every message is one line with the actual values; ``hint`` is the next thing to type or to do.
"""

from __future__ import annotations


class AccountdbError(Exception):
    """The operation failed and nothing is half-done (exit status 3)."""

    exit_status = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AccountdbError):
    """A wrong option, a wrong value or a wrong configuration (exit status 2)."""

    exit_status = 2


class Refused(AccountdbError):  # noqa: N818 - it is a refusal, not an error of the program
    """Refused for safety (exit status 4); the message names the option that allows it."""

    exit_status = 4


class ConnectError(AccountdbError):
    """A server could not be reached, or did not let this role in (exit status 3)."""


class MissingRightError(AccountdbError):
    """This role may not do what was asked; the hint says what an administrator must run."""
