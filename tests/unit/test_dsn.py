"""Data source names: what is read, what is refused, and that no piece of a password is ever shown.

Passwords here are made of marks (QXZW and two Chinese characters) that no user, host, message or
hint contains, so that a single mark in an output is a piece of a password that leaked.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from accountdb.errors import UsageError
from accountdb.pg import dsn as dsns

MARKS = "QXZW密码"
PLAIN = "abcdefghijklmnoprstuvy"
SPECIAL = "@/#?:%&=+!$,;.-_~*()[]{}|<>^` '\"\\"

hosts = st.text(PLAIN, min_size=1, max_size=12)
users = st.text(PLAIN + "_-.", min_size=1, max_size=12)
passwords = st.builds(
    lambda before, mark, after: before + mark + after,
    st.text(MARKS + SPECIAL, max_size=8),
    st.sampled_from(MARKS),
    st.text(MARKS + SPECIAL, max_size=8),
)


def leaks(text: str) -> bool:
    """Whether any piece of a password is in ``text``."""
    return any(mark in text for mark in MARKS)


def told(error: UsageError) -> str:
    """Everything of the error that a person could see, its chain included."""
    return f"{error.message} {error.hint} {error.args} {error.__cause__}"


def refusal(dsn: str) -> str:
    """What a person is told about ``dsn``; empty where it is read."""
    try:
        dsns.parse(dsn)
    except UsageError as error:
        return told(error)
    return ""


def url(user: str, password: str, host: str) -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@{host}:5432/account"


def test_a_url_and_a_key_value_string_say_the_same() -> None:
    by_url = dsns.parse("postgresql://ann:s%40cret@db.example:5433/account?sslmode=require")
    by_pairs = dsns.parse("user=ann password=s@cret host=db.example port=5433 dbname=account sslmode=require")
    assert by_url == by_pairs
    assert by_url["password"] == "s@cret"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_both_schemes_are_known(scheme: str) -> None:
    assert dsns.parse(f"{scheme}://ann@db/account") == {"user": "ann", "host": "db", "dbname": "account"}


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://ann:QXZW@db.example:5433/account", "ann@db.example:5433/account"),
        ("postgresql://db.example/account?user=ann&password=QXZW", "ann@db.example/account"),
        ("host=db.example user=ann password='QX ZW' dbname=account", "ann@db.example/account"),
        ("service=prod password=QXZW", "prod/"),
        ("hostaddr=10.0.0.1 dbname=account sslpassword=QXZW", "10.0.0.1/account"),
        ("dbname=account", "local/account"),
        ("postgresql:///account", "local/account"),
        ("postgresql://ann@[::1]:5433/account", "ann@::1:5433/account"),
        ("nonsense", "(unreadable DSN)"),
        ("", "(unreadable DSN)"),
        ("postgresql://ann:QX@ZW@db/account", "(unreadable DSN)"),
    ],
)
def test_what_is_shown_of_a_dsn(dsn: str, shown: str) -> None:
    assert dsns.shown(dsn) == shown


@pytest.mark.parametrize(
    ("dsn", "fact"),
    [
        ("", "--dsn is empty"),
        ("   ", "--dsn is empty"),
        ("account", "--dsn is neither a postgresql:// URL nor a key=value string"),
        ("ann:QXZW@db/account", "--dsn is neither a postgresql:// URL nor a key=value string"),
        ("mysql://ann:QXZW@db/account", "--dsn is neither a postgresql:// URL nor a key=value string"),
        ("mysql://ann:QX=ZW@db/account", "--dsn cannot be read as a connection string"),
        ("host=db password=QX ZW", "--dsn cannot be read as a connection string"),
        ("host=db password='QXZW", "--dsn cannot be read as a connection string"),
        ("host=db pasword=QXZW", "--dsn cannot be read as a connection string"),
        ("postgresql://ann:QX%ZW@db/account", "--dsn cannot be read as a connection string"),
        ("postgresql://ann:QXZW@db/account?mode=ZW", "--dsn cannot be read as a connection string"),
        ("postgresql://ann:QX@ZW@db/account", "--dsn has a user or password with an unescaped special character"),
        ("postgresql://ann:QX/ZW@db/account", "--dsn has a user or password with an unescaped special character"),
        ("postgresql://ann:QX#ZW@db/account", "--dsn has a user or password with an unescaped special character"),
        ("postgresql://ann:/QXZW@db/account", "--dsn has a user or password with an unescaped special character"),
        ("postgresql://ann:QXZW@@db/account", "--dsn has a user or password with an unescaped special character"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_accepted_forms(dsn: str, fact: str) -> None:
    with pytest.raises(UsageError) as refused:
        dsns.parse(dsn, name="--dsn")
    assert refused.value.message == fact
    assert "postgresql://user@host:5432/database" in str(refused.value.hint)
    assert not leaks(told(refused.value))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ann:QX?Q@ZW@db/account",
        "postgresql://ann:QXZW?host=/X@db/account",
        "postgresql://ann:?QX/ZW@db/account",
        "dbname=postgresql://ann:QXZW@db/account",
    ],
)
def test_a_password_that_libpq_takes_for_a_host_a_port_or_a_name_is_not_shown(dsn: str) -> None:
    assert not leaks(dsns.shown(dsn))
    assert not leaks(refusal(dsn))


def test_bytes_that_are_not_utf_8_are_a_usage_error() -> None:
    with pytest.raises(UsageError):
        dsns.parse("postgresql://ann:caf\udce9@db/account")


@given(users, passwords, hosts)
def test_an_escaped_password_is_read_whole_and_never_shown(user: str, password: str, host: str) -> None:
    dsn = url(user, password, host)
    assert dsns.parse(dsn) == {
        "user": user,
        "password": password,
        "host": host,
        "port": "5432",
        "dbname": "account",
    }
    assert dsns.shown(dsn) == f"{user}@{host}:5432/account"
    assert password in dsns.secrets(dsn)


@given(users, passwords, hosts)
def test_a_password_in_a_key_value_string_is_read_whole_and_never_shown(user: str, password: str, host: str) -> None:
    dsn = make_conninfo("", user=user, password=password, host=host)
    assert dsns.parse(dsn)["password"] == password
    assert dsns.shown(dsn) == f"{user}@{host}/"
    assert dsns.secrets(dsn) == {password}


@given(
    users,
    st.tuples(st.text(MARKS + ":", max_size=6), st.sampled_from("@/#"), st.text(MARKS + "@/#:", max_size=6)),
    hosts,
)
def test_an_unescaped_special_character_is_refused(user: str, parts: tuple[str, str, str], host: str) -> None:
    dsn = f"postgresql://{user}:{''.join(parts)}@{host}/account"
    with pytest.raises(UsageError) as refused:
        dsns.parse(dsn)
    assert not leaks(told(refused.value))
    assert dsns.shown(dsn) == "(unreadable DSN)"


@given(users, passwords, hosts)
@example("ann", "Q?X@Z", "db")
def test_whatever_is_written_unescaped_nothing_of_it_is_shown(user: str, password: str, host: str) -> None:
    for dsn in (
        f"postgresql://{user}:{password}@{host}/account",
        f"host={host} user={user} password={password} dbname=account",
        f"host={host} user={user} dbname=account password='{password}'",
        f"{user}:{password}@{host}/account",
    ):
        assert not leaks(refusal(dsn))
        if not dsn.startswith("host="):  # "password=a host=b" says that the host is b, and rightly so
            assert not leaks(dsns.shown(dsn))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert (dsns.shown(text) == "(unreadable DSN)") == bool(refusal(text))


@given(users, passwords, hosts)
def test_a_text_that_quotes_a_dsn_is_scrubbed_of_its_password(user: str, password: str, host: str) -> None:
    for dsn in (url(user, password, host), make_conninfo("", user=user, password=password, host=host)):
        text = f"could not do it with {password} nor with {dsn} at all"
        cleaned = dsns.scrub(text, dsn)
        assert not leaks(cleaned)
        assert cleaned.startswith("could not do it with *** nor")
        assert cleaned.endswith("at all")


@given(users, passwords, hosts)
@example("ann", "it's QX", "db")
def test_a_dsn_that_nobody_named_is_scrubbed_too(user: str, password: str, host: str) -> None:
    for dsn in (url(user, password, host), make_conninfo("", host=host, user=user, password=password)):
        cleaned = dsns.scrub(f"dsn was: {dsn}\nnext line")
        assert not leaks(cleaned)
        assert "next line" in cleaned


@given(users, st.text(MARKS + "@:", min_size=1, max_size=10).filter(leaks), hosts)
def test_an_unreadable_dsn_is_scrubbed_as_well(user: str, password: str, host: str) -> None:
    dsn = f"postgresql://{user}:{password}@{host}/account"
    assert not leaks(dsns.scrub(f"cannot use {dsn}", dsn))
    assert not leaks(dsns.scrub(f"cannot use {dsn}"))


def test_the_longer_secret_is_masked_first() -> None:
    both = ("postgresql://ann:QX@db/a", "postgresql://ann:QXZW@db/a")
    assert dsns.scrub("it said QXZW", *both) == "it said ***"


def test_text_without_a_secret_stays_as_it_is() -> None:
    text = "the password of ann is asked for at postgresql://ann@db/account, port = 5432"
    assert dsns.scrub(text, "postgresql://ann@db/account") == text


@given(users, passwords, hosts)
def test_parameters_are_replaced_and_the_rest_is_kept(user: str, password: str, host: str) -> None:
    changed = dsns.parse(dsns.with_params(url(user, password, host), dbname="other", user="bob"))
    assert changed == {"user": "bob", "password": password, "host": host, "port": "5432", "dbname": "other"}
