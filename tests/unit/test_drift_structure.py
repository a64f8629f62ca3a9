"""Identities that are never ambiguous, and a structure that survives JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.drift.structure import OWNED_KINDS, Identity, LeftOut, Structure, identity

names = st.text(alphabet='ab."$ é', min_size=1, max_size=6)


def test_a_plain_name_is_written_plainly() -> None:
    assert identity("column", "public", "users", "email") == ("column", "public", "users.email")


@given(owner=names, leaf=names, kind=st.sampled_from(sorted(OWNED_KINDS)))
def test_owner_and_leaf_come_back(owner: str, leaf: str, kind: str) -> None:
    made = identity(kind, "public", owner, leaf)
    assert (made.owner, made.leaf) == (owner, leaf)


@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_two_objects_never_share_an_identity(first: tuple[str, str], second: tuple[str, str]) -> None:
    same = identity("index", "public", *first) == identity("index", "public", *second)
    assert same == (first == second)


def test_what_stands_alone_has_no_owner() -> None:
    function = identity("function", "public", None, "f(public.mood, numeric)")
    assert function.owner is None
    assert function.leaf == "f(public.mood, numeric)"


def test_an_owned_kind_without_owner_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="owner"):
        _ = Identity("column", "public", "email").owner


def test_the_tree_comes_back_from_json() -> None:
    structure = Structure(
        {
            Identity("table", "public", "users"): {"form": "table"},
            Identity("column", "public", "users.email"): {"type": "text", "not_null": True},
            Identity("column", "accountdb", "node.name"): {"type": "text", "not_null": False},
        }
    )
    assert Structure.from_tree(json.loads(json.dumps(structure.tree()))) == structure
    assert structure.counts() == {"table": 1, "column": 2}


def test_what_is_left_out_takes_no_part_in_equality() -> None:
    left = LeftOut(Identity("table", "public", "schema_migrations"), "not ours")
    assert Structure({}, (left,)) == Structure({})
