"""The job file of pgsync: read whole, refused whole, without a secret in any message."""

from __future__ import annotations

from pathlib import Path

import pytest

from accountdb.errors import UsageError
from accountdb.sync.config import Policy, load, parse

ENVIRONMENT = {"GLOBAL_DSN": "postgresql://u:pa55@global/account", "CN_DSN": "postgresql://u:pa55@cn/account"}
EXAMPLE = """
jobs:
  users_one_way:
    source:      {dsn: "${GLOBAL_DSN}"}
    destination: {dsn: "${CN_DSN}"}
    schema: public
    policy: mirror
    tables:
      users: {delete: true, columns: [uuid, username]}
      sessions: {}
      identities:
    batch_size: 5000
    snapshot: true
    poll_interval: 30s
"""


def read(text: str) -> str:
    """The message that ``text`` is refused with."""
    with pytest.raises(UsageError) as caught:
        parse(text, name="jobs.yaml", environment=ENVIRONMENT)
    assert "pa55" not in caught.value.message + (caught.value.hint or "")
    assert caught.value.hint
    return caught.value.message


def test_the_documented_file_is_read() -> None:
    job = parse(EXAMPLE, name="jobs.yaml", environment=ENVIRONMENT).jobs["users_one_way"]
    assert job.source.dsn == ENVIRONMENT["GLOBAL_DSN"]
    assert job.policy is Policy.MIRROR
    assert job.tables["users"].columns == ("uuid", "username")
    assert job.tables["sessions"].delete
    assert job.tables["identities"].columns == ()
    assert (job.schema_name, job.batch_size, job.snapshot, job.poll_interval) == ("public", 5000, True, 30.0)


@pytest.mark.parametrize(
    ("written", "seconds"), [("30s", 30), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("7", 7), ("'1.5 s'", 1.5)]
)
def test_durations(written: str, seconds: float) -> None:
    text = EXAMPLE.replace("30s", written)
    assert parse(text, name="x", environment=ENVIRONMENT).jobs["users_one_way"].poll_interval == seconds


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("policy: mirror", "policy: both", "jobs.users_one_way.policy 'both': Input should be 'mirror' or 'merge'"),
        ("snapshot: true", "snapshots: true", "jobs.users_one_way.snapshots True: no such key"),
        ("batch_size: 5000", "batch_size: 0", "jobs.users_one_way.batch_size 0"),
        ("batch_size: 5000", "batch_size: many", "jobs.users_one_way.batch_size"),
        ("30s", "soon", "a duration such as 30s"),
        ("30s", "0s", "poll_interval"),
        ("sessions: {}", "sessions: {where: x}", "jobs.users_one_way.tables.sessions.where: no such key"),
        ("sessions: {}", "users: {}", "the key users stands twice"),
        ("[uuid, username]", "[uuid, uuid]", "each column once"),
        ("[uuid, username]", "uuid", "a list of columns"),
        ('"${CN_DSN}"', '"${NOWHERE}"', "jobs.users_one_way.destination.dsn: the environment has no NOWHERE"),
        ('"${CN_DSN}"', "''", "jobs.users_one_way.destination.dsn is empty"),
        ('"${CN_DSN}"', "'postgresql://u:pa55@@h/d'", "jobs.users_one_way.destination.dsn"),
        ("jobs:", "job:", "jobs: Field required"),
        ("{dsn: ", "{dsn ", "line "),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str) -> None:
    assert message in read(EXAMPLE.replace(old, new, 1) if old != "sessions: {}" else EXAMPLE.replace(old, new))


@pytest.mark.parametrize("text", ["", "jobs: {}", "[]", "jobs:\n  a: 1", "\x00", "!!python/object:os.system {}"])
def test_what_is_no_job_file_is_refused(text: str) -> None:
    assert read(text)


def test_every_fault_is_named_at_once() -> None:
    found = read(EXAMPLE.replace("mirror", "both").replace("5000", "0").replace("30s", "soon"))
    assert "3 problems" in found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load(tmp_path / "none.yaml")
