"""Which password ``region password`` takes."""

from __future__ import annotations

import pytest

from accountdb.errors import UsageError
from accountdb.setup.password import _password

STORED = "host=db port=1 user=replicator password=OLDQXZW dbname=account"


def test_it_is_the_one_that_the_operator_connects_with() -> None:
    assert _password("sub", STORED, "replicator", "new") == "new"


def test_of_another_user_it_is_not_taken() -> None:
    with pytest.raises(UsageError) as refused:
        _password("sub", STORED, "postgres", "new")
    assert refused.value.message == "sub connects as replicator, --provider-dsn as postgres"
    assert "PEER_PASSWORD" in (refused.value.hint or "")
    assert "QXZW" not in refused.value.message + (refused.value.hint or "")


def test_none_is_no_password() -> None:
    with pytest.raises(UsageError):
        _password("sub", STORED, "replicator", "")
