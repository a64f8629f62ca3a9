"""Console scripts as a user runs them, in processes that are forked from one that has imported them already.

Starting Python and importing takes eight times the work of most commands, and the tests run hundreds of them.
What is left out is the start alone: each command has a process, an environment and outputs of its own, and ends
as the script does. Only standard library and the program are imported here: the process that is forked must stay small.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from accountdb.cli import migratectl, pgsync

for _module, _ in migratectl.COMMANDS.values():
    import_module(f"accountdb.cli.{_module}")

_MAINS = {"migratectl": migratectl.main, "pgsync": pgsync.main}
_FORKS = multiprocessing.get_context("forkserver")
# Of one process there is one such server: the proof of deaths forks its commands from it too.
PRELOADED = ["tests.warm", "proof.stepping"]


def run(words: list[str], env: Mapping[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` gives for the script ``words[0]`` and its arguments. It reads nothing."""
    _FORKS.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory(prefix="accountdb-warm-") as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _FORKS.Process(target=_be, args=(words, dict(env), os.getcwd(), str(out), str(err)), daemon=True)
        process.start()
        try:
            process.join(timeout_s)
            status = process.exitcode
        finally:
            process.kill()
            process.join()
            process.close()
        if status is None:
            raise subprocess.TimeoutExpired(words, timeout_s)
        return subprocess.CompletedProcess(words, status, out.read_text("utf-8"), err.read_text("utf-8"))


def _be(words: list[str], env: dict[str, str], folder: str, out: str, err: str) -> None:
    """The process: be the script."""
    for name, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", encoding="utf-8") for stream in (1, 2))
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(folder)
    sys.argv = words
    try:
        _MAINS[Path(words[0]).name]()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
