"""The pure parts of the pages: words, numbers, the drawing of the lag, who may come in."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from accountdb.errors import UsageError
from accountdb.web import access, extra, figures, listening, plot, words

WEB = Path(words.__file__).parent
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTS = frozenset({"127.0.0.1:8420"})


def test_both_languages_have_every_word_and_the_same_names_in_it() -> None:
    for key, texts in words.catalogue().items():
        assert set(texts) == set(words.LANGUAGES), key
        assert all(texts.values()), key
        names = {language: set(re.findall(r"\{(\w+)\}", text)) for language, text in texts.items()}
        assert names["en"] == names["zh"], key
    chinese = [key for key, texts in words.catalogue().items() if not re.search(r"[\u4e00-\u9fff]", texts["zh"])]
    assert chinese == ["pass.last"], "these are not translated"


def test_pages_use_only_words_that_are_there_and_all_of_them() -> None:
    known = set(words.catalogue())
    sources = [*WEB.glob("templates/*.html"), *WEB.glob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    used = set(re.findall(r"""\bw(?:ords)?\(["']([a-z.]+)["']\s*[,)]""", text))
    assert used <= known
    # Those that are put together: "kind." ~ task.kind.
    made = ("theme.", "keys", "kind.", "sentence.", "state.", "level.", "way.", "write.", "run.", "why.", "error.late")
    for key in sorted(known - used):
        literal = re.search(rf"""["']{re.escape(key)}["']""", text)
        assert literal or key.startswith(made) or key in ("merge.last", "heal.last", "keeps", "lost"), key


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.5", "en"),
        ("fr,zh;q=0.1", "zh"),
        ("zh;q=0,en;q=0.1", "en"),
        ("en;q=x,zh", "zh"),
        ("de", "en"),
        (",;q=,*", "en"),
    ],
)
def test_the_language_is_what_the_browser_likes_best(header: str, language: str) -> None:
    assert words.preferred(header) == language


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0, "0 s"), (0.0123, "12 ms"), (0.9949, "995 ms"), (0.996, "1.0 s"), (99.4, "99.4 s"),
        (99.6, "1 min 40 s"), (3600, "1 h"), (3661, "1 h 1 min"), (90_000, "1 d 1 h"), (-0.25, "-250 ms"),
        (-300, "-5 min"), (-3661, "-1 h 1 min"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert figures.seconds_text(seconds) == text


def test_other_numbers_for_people() -> None:
    assert [figures.bytes_text(n) for n in (None, 0, 1023, 1024, 5 * 1024**4)] == [
        "–",
        "0 B",
        "1023 B",
        "1.0 kB",
        "5.0 TB",
    ]
    assert figures.count_text(1234567) == "1\u202f234\u202f567"
    assert [figures.age_text(n) for n in (None, 0.2, 72.6, 100, -3)] == ["–", "0 s", "72 s", "1 min 40 s", "0 s"]


def points(*ago: float, seconds: float = 0.1) -> tuple[plot.Point, ...]:
    return tuple(plot.Point(NOON - timedelta(seconds=one), seconds) for one in ago)


def test_a_time_without_beats_is_a_gap_and_no_line() -> None:
    day = points(*range(86_400, 40_000, -60), *range(36_000, 0, -60))
    (line,) = plot.drawing([plot.Series("cn", "global", day)], NOON).lines
    assert line.missing == ((NOON - timedelta(seconds=40_020), NOON - timedelta(seconds=36_000)),)
    assert line.path.count("M") == 2
    assert line.now == 0.1
    # A beat every ten minutes, by cron, has no gaps.
    assert plot.gaps(points(*range(86_400, 0, -600)), NOON - timedelta(days=1), NOON) == ()
    (none,) = plot.drawing([plot.Series("cn", "global", ())], NOON).lines
    assert (none.path, none.usual, none.now) == ("", None, None)
    assert none.missing == ((NOON - timedelta(days=1), NOON),)
    (lone,) = plot.drawing([plot.Series("cn", "global", points(43_200))], NOON).lines
    assert len(lone.dots) == 1
    assert lone.now is None, "what is twelve hours old is not now"


def test_the_drawing_stays_within_its_frame_whatever_the_lag() -> None:
    for seconds in (0, 1e-6, 0.5, 59, 4000, 10 * 86_400):
        for width in (plot.WIDE, plot.NARROW):
            drawn = plot.drawing([plot.Series("a", "b", points(86_400, 60, 0, seconds=seconds))], NOON, width=width)
            for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn.lines[0].path):
                assert drawn.left <= float(x) <= drawn.right
                assert drawn.top <= float(y) <= drawn.bottom
            assert drawn.seconds[0][0] == drawn.bottom
            assert len(drawn.hours) == 8


def test_hours_for_who_does_not_see_the_drawing() -> None:
    found = plot.by_hour(plot.Series("a", "b", (*points(1800, seconds=2), *points(1700, seconds=4))), NOON)
    assert len(found) == 24
    assert (found[0].usual, found[1].usual, found[1].highest) == (None, 3, 4)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"host": "127.0.0.1:8420"}, None),
        ("GET", {"host": "127.0.0.1:8420", "sec-fetch-site": "cross-site"}, None),
        ("GET", {}, 421),
        ("GET", {"host": "evil.example:8420"}, 421),
        ("POST", {"host": "127.0.0.1:8420"}, None),
        ("POST", {"host": "127.0.0.1:8420", "origin": "http://127.0.0.1:8420"}, None),
        ("POST", {"host": "127.0.0.1:8420", "origin": "http://127.0.0.1:9"}, 403),
        ("POST", {"host": "127.0.0.1:8420", "origin": "null"}, 403),
        ("POST", {"host": "127.0.0.1:8420", "sec-fetch-site": "none"}, 403),
        ("DELETE", {"host": "127.0.0.1:8420"}, 405),
        ("TRACE", {"host": "127.0.0.1:8420"}, 405),
    ],
)
def test_who_is_sent_away(method: str, headers: dict[str, str], status: int | None) -> None:
    refused = access.refusal(method, headers, HOSTS)
    assert (refused[0] if refused else None) == status


def test_sessions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = access.Sessions("a-token-of-enough-letters")
    assert sessions.open("a-token-of-enough-letter") is None
    cookie = sessions.open(" a-token-of-enough-letters\n")
    assert sessions.find(cookie) is not None
    assert sessions.find(None) is None
    many = [sessions.open("a-token-of-enough-letters") for _ in range(300)]
    assert sessions.find(cookie) is None, "of too many the oldest end"
    assert sessions.find(many[-1]) is not None
    later = time.monotonic() + 13 * 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert sessions.find(many[-1]) is None


def test_addresses() -> None:
    assert listening.address("127.0.0.1:8420").loopback
    assert listening.address("[::1]:0").text == "[::1]:0"
    assert listening.address("localhost:1").loopback
    assert not listening.address("0.0.0.0:1").loopback
    assert not listening.address("[::]:1").loopback
    assert not listening.address("example.cn:1").loopback
    for wrong in ("", ":1", "::1:1", "a:b", "a:70000", "a b:1", "http://a:1"):
        with pytest.raises(UsageError):
            listening.address(wrong)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    extra.require()
    monkeypatch.setattr(extra, "_PACKAGES", ("starlette", "nosuch_package"))
    with pytest.raises(UsageError, match="needs nosuch_package, which is not installed") as found:
        extra.require()
    assert found.value.hint == "pip install 'accountdb[web]'"
