"""How long the pages of the dashboard take in a browser, with 200 open conflicts and 24 hours of beats.

    python -m benchmarks.dashboard [--runs 10] [--pictures FOLDER]

From the start of the navigation to its load event, with the content there. Ends with 1 where a page takes a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from accountdb import lab
from accountdb.setup.ready import NODES, make_ready
from benchmarks.filling import fill
from tests.acceptance.browsing import CHROMIUM, browser
from tests.integration.serving import TOKEN, Served, served, token_file

_CONFLICTS = 200
_MOST_S = 1.0
_TIMES = """() => { const n = performance.getEntriesByType('navigation')[0];
return [n.responseEnd - n.startTime, n.loadEventEnd - n.startTime] }"""


def main() -> int:
    """Measure and print; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--pictures", type=Path, help="also take the pictures that docs/dashboard.md shows")
    chosen = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("Chromium is not here: sh scripts/chromium.sh")
    with tempfile.TemporaryDirectory(prefix="accountdb-bench-") as name:
        folder = Path(name)
        running = lab.up(folder / "lab", "native", owner_pid=os.getpid()).keep()
        try:
            make_ready(running)
            regions = {NODES[region.name]: region.admin_dsn for region in running.regions}
            fill(regions, _CONFLICTS)
            with served(folder, "dashboard", "--token-file", str(token_file(folder)), env=running.env()) as found:
                status = _measure(found, chosen.runs)
                if chosen.pictures:
                    take(found, chosen.pictures)
                return status
        finally:
            running.down()


def _measure(found: Served, runs: int) -> int:
    found.sign_in()
    found.read_once()
    late = 0
    with browser() as chromium:
        page = chromium.new_page()
        page.goto(f"{found.url}/login")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{found.url}/")
        page.locator(".plot.wide svg path.trace").first.wait_for()
        conflict = str(found.ask("/conflicts").text.partition('class="row-link" href="')[2].partition('"')[0])
        for title, path, there in (
            ("overview, 24 h of two directions", "/", ".plot.wide svg path.trace"),
            ("inbox, 200 conflicts", "/conflicts", "#rows .row-link"),
            ("one conflict, both regions asked", conflict, "table.both"),
        ):
            served_s, loaded_s = zip(*(_once(page, found.url + path, there) for _ in range(runs)), strict=True)
            slowest = max(loaded_s)
            print(
                f"{title}: answer {statistics.median(served_s):.3f} s, loaded {statistics.median(loaded_s):.3f} s,"
                f" slowest of {runs} {slowest:.3f} s"
            )
            late += slowest >= _MOST_S
    return 1 if late else 0


def take(found: Served, folder: Path) -> None:
    """The pictures of the docs, as they are today."""
    with browser() as chromium:
        for name, language, scheme, width, height, path in (
            ("overview", "en-US", "light", 1180, 1280, "/"),
            ("overview-dark-zh", "zh-CN", "dark", 1180, 1280, "/"),
            ("conflict", "en-US", "light", 1180, 1210, ""),
            ("telephone", "en-US", "light", 390, 844, "/"),
        ):
            context = chromium.new_context(
                locale=language,
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": width, "height": height},
            )
            page = context.new_page()
            page.goto(f"{found.url}/login")
            page.locator("#token").fill(TOKEN)
            page.keyboard.press("Enter")
            page.wait_for_url(f"{found.url}/")
            listed = found.ask("/conflicts?page=99").text
            newest = listed.rpartition('class="row-link" href="')[2].partition('"')[0]
            page.goto(found.url + (path or newest))
            page.screenshot(path=folder / f"dashboard-{name}.png")
            context.close()


def _once(page: Page, url: str, there: str) -> tuple[float, float]:
    page.goto(url, wait_until="load")
    if not page.locator(there).count():
        raise SystemExit(f"{url} has no {there}")
    served_ms, loaded_ms = page.evaluate(_TIMES)
    return served_ms / 1000, loaded_ms / 1000


if __name__ == "__main__":
    raise SystemExit(main())
