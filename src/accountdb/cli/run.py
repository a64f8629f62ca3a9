"""Running a command: errors become one line, a hint and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import psycopg
import typer

from accountdb.errors import AccountdbError
from accountdb.pg import dsn as dsns
from accountdb.pg.connect import told
from accountdb.render import output

# typer keeps its parser's exceptions private; BadParameter is one of them and public.
_ParserUsageError: type[Exception] = typer.BadParameter.__mro__[1]
_INTERRUPTED = 130


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run ``app`` and return its exit status. Nothing is raised, and no secret is shown."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    # An option of every command, wherever it stands.
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        status = app(args=arguments, prog_name=program, standalone_mode=False)
    except _ParserUsageError as error:
        return _fail(2, _parser_message(error), f"{program} --help", debug=False)
    except typer.Abort:
        return _fail(_INTERRUPTED, "interrupted", None, debug=False)
    except KeyboardInterrupt:
        return _fail(_INTERRUPTED, "interrupted", None, debug=False)
    except BrokenPipeError:
        # The reader of our output has gone; a second error while Python closes stdout helps nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except AccountdbError as error:
        return _fail(error.exit_status, error.message, error.hint, debug=debug)
    except psycopg.Error as error:
        reason = told(error)
        missing = isinstance(error, psycopg.errors.InsufficientPrivilege)
        hint = "run it as the role that owns it, or as an administrator" if missing else None
        return _fail(reason.exit_status, reason.message, reason.hint or hint, debug=debug)
    if status == _INTERRUPTED:
        # Some versions of typer make a status of it, and say nothing.
        return _fail(_INTERRUPTED, "interrupted", None, debug=False)
    return status if isinstance(status, int) else 0


def _parser_message(error: Exception) -> str:
    describe = getattr(error, "format_message", None)
    text = describe() if callable(describe) else str(error)
    return dsns.scrub(" ".join(str(text).split()), *sys.argv)


def _fail(status: int, message: str, hint: str | None, *, debug: bool) -> int:
    console = output.stderr()
    if debug:
        secrets = [value for name, value in os.environ.items() if name.endswith("DSN") or name == "DB_URL"]
        console.print(dsns.scrub(traceback.format_exc(), *secrets, *sys.argv))
    console.print(f"error: {message}", style="red")
    if hint:
        console.print(f"hint: {hint}")
    return status
