"""Programs that serve, as a user starts them, and the little client that the tests ask them with."""

from __future__ import annotations

import http.client
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.conftest import eventually, words_and_environment

TOKEN = "the-token-of-this-test-run"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class Served:
    """A program that serves on a free port of this machine."""

    process: subprocess.Popen[str]
    port: int
    log: Path
    cookie: str = ""

    @property
    def host(self) -> str:
        """As a browser would send it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"

    def ask(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        signed: bool = True,
        **headers: str,
    ) -> Answer:
        """One request, with the session's cookie; a POST where there are ``fields``. Redirects are not followed."""
        sent = {"Host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if signed and self.cookie:
            sent.setdefault("Cookie", self.cookie)
        body = None
        if fields is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
            body = urlencode(fields)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method or ("GET" if fields is None else "POST"), path, body, sent)
            found = connection.getresponse()
            return Answer(found.status, found.read().decode(), {k.lower(): v for k, v in found.getheaders()})
        finally:
            connection.close()

    def sign_in(self) -> None:
        """Begin a session."""
        answer = self.ask("/login", {"token": TOKEN})
        assert answer.status == 303, answer.text
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def form_token(self, path: str) -> str:
        """The session's token in the forms of a page."""
        match = re.search(r'name="form_token" value="([^"]+)"', self.ask(path).text)
        assert match is not None
        return match[1]

    def read_once(self) -> None:
        """Wait until the regions have been read, with all that the overview shows."""

        def there() -> bool:
            text = self.ask("/").text
            return 'data-page="overview"' in text and 'id="rows"' in text

        eventually(there, what="the first reading")


@contextmanager
def served(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run ``migratectl`` with ``arguments`` and ``--listen`` until the block ends."""
    log = folder / "served.log"
    words, environment = words_and_environment("migratectl", [*arguments, "--listen", "127.0.0.1:0"], env)
    with log.open("w") as out:
        process = subprocess.Popen(words, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True)
        try:
            port = eventually(lambda: _port(log, process), what="the address")
            yield Served(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(5)
            finally:
                process.kill()


def _port(log: Path, process: subprocess.Popen[str]) -> int:
    text = log.read_text()
    assert process.poll() is None, text
    match = re.search(r"http://127\.0\.0\.1:(\d+)/", text)
    return int(match[1]) if match else 0


def token_file(folder: Path) -> Path:
    """A token file as the program wants it."""
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_text(f"{TOKEN}\n")
    return path
