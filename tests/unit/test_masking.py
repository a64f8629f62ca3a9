"""What may be shown of a row."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accountdb.contract.masking import MASK, Secrets, printable, union

USERS = ("public", "users")
SECRETS = union([{USERS: frozenset({"pin"})}, {USERS: frozenset({"answer"}), ("public", "keys"): frozenset({"key"})}])

NAMES = st.sampled_from(["password", "Token", "mfa_totp_secret", "pin", "answer", "email", "meta", "列"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab列", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def hidden_below(value: Any) -> list[Any]:
    """All values that stand directly under a secret name."""
    if isinstance(value, dict):
        found = [v for k, v in value.items() if k.casefold() in SECRETS.names(USERS)]
        return found + [h for k, v in value.items() if v not in found for h in hidden_below(v)]
    if isinstance(value, list):
        return [h for v in value for h in hidden_below(v)]
    return []


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_no_secret_name_keeps_a_value_at_any_depth(row: dict[str, Any]) -> None:
    masked = SECRETS.masked(USERS, row)
    assert masked is not None
    assert masked.keys() == row.keys()
    assert all(value in (None, MASK) for value in hidden_below(masked))


def test_only_values_are_masked_and_null_stays() -> None:
    row = {"email": "a@x", "password": None, "meta": {"list": [{"TOKEN": {"a": 1}, "b": 2}]}, "pin": 3}
    expected = {"email": "a@x", "password": None, "meta": {"list": [{"TOKEN": MASK, "b": 2}]}, "pin": MASK}
    assert SECRETS.masked(USERS, row) == expected


def test_declared_secrets_of_every_region_count_for_their_own_table() -> None:
    assert SECRETS.hides(USERS, "pin")
    assert SECRETS.hides(USERS, "Answer")
    assert SECRETS.hides(("public", "keys"), "key")
    assert not SECRETS.hides(USERS, "key")
    assert Secrets({}).hides(("any", "table"), "password")


def test_a_server_message_loses_the_secrets_of_the_rows() -> None:
    row = {"email": "a@x", "meta": {"token": ["deep-secret"]}, "password": "pw-secret"}
    text = SECRETS.scrubbed(USERS, f"Failing row contains (a@x, pw-secret, {json.dumps(row['meta'])})", [row, None])
    assert text == 'Failing row contains (a@x, ***, {"token": ["***"]})'


def test_control_characters_do_nothing_to_a_terminal() -> None:
    assert printable("王\x1b[31m\n\t\u202e") == "王\\x1b[31m\\n\\t\\u202e"
