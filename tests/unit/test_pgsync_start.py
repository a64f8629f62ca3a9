"""What starting pgsync loads: cron does it each minute."""

from __future__ import annotations

import subprocess
import sys


def test_a_pass_that_draws_nothing_loads_nothing_that_draws() -> None:
    loaded = "import accountdb.cli.pgsync, sys; print('rich' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "False\n"
    )
