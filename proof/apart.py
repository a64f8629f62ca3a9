"""Two regions apart: a few hundred rows that differ in every way that a merge knows, the same each time.

They are written as a worker's, without a stream: nothing of it is under way when the command begins.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from accountdb.lab import Lab, LabRegion
from accountdb.pg.connect import Connection, connect

TABLES = ("users", "identities", "sessions", "admin_settings", "subscriptions")

# An index that a load in one piece drops and makes again, with what hangs on it.
_PREPARE = b"""
CREATE INDEX IF NOT EXISTS subscriptions_status_idx ON public.subscriptions (status) WITH (fillfactor = 80);
COMMENT ON INDEX public.subscriptions_status_idx IS 'by status, it''s "50 %"';
CREATE INDEX IF NOT EXISTS admin_settings_role_idx ON public.admin_settings (role DESC);
SELECT pg_replication_origin_create('accountdb_faults')
WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'accountdb_faults')
"""
_QUIET = b"""
SET session_replication_role = replica;
SET "TimeZone" = 'UTC';
SET accountdb.allow_truncate = on;
SET accountdb.judged = on;
SELECT pg_replication_origin_session_setup('accountdb_faults')
"""
_EMPTY = b"""
TRUNCATE public.users, public.identities, public.sessions, public.admin_settings, public.subscriptions,
    accountdb.tombstone, accountdb.conflict, accountdb.resolution
"""

# What each statement writes, and where. Groups of numbers are kinds of difference; see ``_GROUPS``.
_USER = """
INSERT INTO public.users (uuid, username, email, password, level, created_at, updated_at, version, origin_node)
SELECT {uuid}, {name}, {email}, 'secret', n, timestamptz '2026-01-01 00:00Z' + {age} * interval '1 s',
       timestamptz '2026-02-01 00:00Z' + {version} * interval '1 h', {version}, '{node}'
FROM generate_series({first}, {last}) AS n
"""
_CHILD = {
    "identities": """
INSERT INTO public.identities (uuid, provider, external_id, user_uuid, created_at, updated_at, version, origin_node)
SELECT {uuid}, 'github', {value}, {user}, timestamptz '2026-01-02 00:00Z' + {age} * interval '1 s',
       timestamptz '2026-02-01 00:00Z' + {version} * interval '1 h', {version}, '{node}'
FROM generate_series({first}, {last}) AS n
""",
    "sessions": """
INSERT INTO public.sessions (uuid, token, expires_at, user_uuid, created_at, updated_at, version, origin_node)
SELECT {uuid}, {value}, timestamptz '2027-01-01 00:00Z', {user},
       timestamptz '2026-01-02 00:00Z' + {age} * interval '1 s',
       timestamptz '2026-02-01 00:00Z' + {version} * interval '1 h', {version}, '{node}'
FROM generate_series({first}, {last}) AS n
""",
    "subscriptions": """
INSERT INTO public.subscriptions (uuid, user_uuid, provider, payment_method, external_id, payment_qr,
                                  created_at, updated_at, version, origin_node)
SELECT {uuid}, {user}, 'p', 'card', {value}, repeat(md5(n::text), 20),
       timestamptz '2026-01-02 00:00Z' + {age} * interval '1 s',
       timestamptz '2026-02-01 00:00Z' + {version} * interval '1 h', {version}, '{node}'
FROM generate_series({first}, {last}) AS n
""",
}
_SETTING = """
INSERT INTO public.admin_settings (uuid, module_key, role, created_at, updated_at, version, origin_node)
SELECT md5('setting' || n)::uuid, 'module' || n, 'admin', timestamptz '2026-01-02 00:00Z',
       timestamptz '2026-02-01 00:00Z', 1, '{node}'
FROM generate_series({first}, {last}) AS n
"""
_TOMBSTONE = """
INSERT INTO accountdb.tombstone (row_key, table_schema, table_name, created_at, node, version, updated_at, origin_node,
                                 deleted_at)
SELECT md5('user' || n)::uuid, 'public', 'users', timestamptz '2026-01-01 00:00Z' + n * interval '1 s', '{node}',
       1, timestamptz '2026-02-01 01:00Z', '{node}', timestamptz '2026-03-01 00:00Z'
FROM generate_series({first}, {last}) AS n
"""


@dataclass(frozen=True)
class Users:
    """Users ``first`` to ``last`` of one region. Another ``life`` is younger, by seconds; ``node`` wrote them last."""

    region: str
    first: int
    last: int
    version: int = 1
    life: int = 0
    uuid: str = "md5('user' || n)::uuid"
    name: str = "'name' || n"
    email: str = "'mail' || n || '@example.cn'"
    node: str = ""

    @property
    def statement(self) -> str:
        """The INSERT."""
        return _USER.format(
            uuid=self.uuid, name=self.name, email=self.email, age=f"(n + {self.life})", version=self.version,
            node=f"node_{self.node or self.region}", first=self.first, last=self.last,
        )  # fmt: skip


@dataclass(frozen=True)
class Children:
    """Rows ``first`` to ``last`` of a child table in one region. ``parent`` is the number of their user."""

    table: str
    region: str
    first: int
    last: int
    parent: str = "n"
    version: int = 1
    life: int = 0
    key: str = "n"
    value: str = "'value' || n"
    node: str = ""

    @property
    def statement(self) -> str:
        """The INSERT."""
        return _CHILD[self.table].format(
            uuid=f"md5('{self.table}' || {self.key})::uuid", value=self.value,
            user=f"md5('user' || {self.parent})::uuid", age=f"(n + {self.life})", version=self.version,
            node=f"node_{self.node or self.region}", first=self.first, last=self.last,
        )  # fmt: skip


_REGIONS = ("cn", "global")


# A whole stretch of keys of which the other region has no row.
_STRETCH = "('{}0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
_RIVAL = "md5('rival' || n)::uuid"
_GROUPS: tuple[Users | Children, ...] = (
    # Alike, then only here and only there, scattered and in one stretch.
    *(Users(region, 1, 60, node="cn") for region in _REGIONS),
    Users("cn", 61, 90),
    Users("global", 91, 120),
    Users("cn", 121, 180, uuid=_STRETCH.format("a")),
    Users("global", 181, 240, uuid=_STRETCH.format("5")),
    # Both have them, and one has the newer copy; or neither, by version and time.
    Users("cn", 241, 255, version=3),
    Users("global", 241, 255, version=2),
    Users("cn", 256, 270),
    Users("global", 256, 270, version=2),
    Users("cn", 271, 275, name="'here' || n"),
    Users("global", 271, 275, name="'there' || n"),
    # One e-mail registered twice, one name, both; either region was the first. Some of a stretch too.
    Users("cn", 281, 284),
    Users("global", 281, 284, uuid=_RIVAL, life=50, name="'rival' || n", email="'MAIL' || n || '@Example.cn'"),
    Users("cn", 285, 288, life=50),
    Users("global", 285, 288, uuid=_RIVAL, email="'other' || n || '@example.cn'"),
    Users("cn", 289, 290, life=50),
    Users("global", 289, 290, uuid=_RIVAL),
    Users("cn", 291, 292, uuid=_STRETCH.format("a")),
    Users("global", 291, 292, life=50, uuid=_STRETCH.format("5")),
    # Deleted there or here, alive on the other side; the last two live again under the same uuid.
    Users("cn", 301, 303),
    Users("global", 311, 313),
    Users("cn", 314, 314, life=5000, version=0),
    Users("global", 314, 314, version=4),
    # Children: alike, only here, only there, newer there, of users that come from the other side.
    *(Children("identities", region, 1, 30, node="cn") for region in _REGIONS),
    Children("identities", "cn", 31, 40),
    Children("identities", "global", 41, 60),
    Children("identities", "cn", 61, 65),
    Children("identities", "cn", 66, 70, parent="(n - 65)"),
    Children("identities", "global", 66, 70, parent="(n - 65)", version=2, value="'moved' || n"),
    # The same identity twice: the younger one is parked.
    Children("identities", "cn", 71, 74, parent="(n - 70)", value="'claim' || n"),
    Children("identities", "global", 71, 74, parent="(n - 60)", key="(n + 1000)", life=50, value="'claim' || n"),
    # Of dead users, and one that had moved to a living one before its user died.
    *(Children("sessions", region, 1, 20, node="global") for region in _REGIONS),
    Children("sessions", "cn", 21, 40),
    Children("sessions", "global", 91, 110),
    Children("sessions", "cn", 301, 303),
    Children("sessions", "global", 311, 313),
    Children("sessions", "cn", 321, 322, parent="(n - 20)"),
    Children("sessions", "global", 321, 322, parent="(n - 320)", version=2),
    Children("sessions", "cn", 331, 332, parent="(n - 330)", value="'claim' || n"),
    Children("sessions", "global", 331, 332, parent="(n - 320)", key="(n + 1000)", life=50, value="'claim' || n"),
    # A table that the other region has empty: with children of the living, of the dead, and of those still to come.
    Children("subscriptions", "cn", 1, 60),
    Children("subscriptions", "cn", 61, 90),
    Children("subscriptions", "cn", 301, 303),
)  # fmt: skip
_DEAD = {"cn": (311, 314), "global": (301, 303)}
_SETTINGS = {"global": (1, 60)}


def prepare(lab: Lab) -> None:
    """Make a ready lab fit for it."""
    for region in lab.regions:
        with connect(region.admin_dsn, autocommit=True) as conn:
            conn.execute(_PREPARE)


def write(lab: Lab) -> None:
    """Both regions as they are before the command, whatever they were."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(_write, lab.regions))


def _write(region: LabRegion) -> None:
    with connect(region.admin_dsn, autocommit=True) as conn:
        conn.execute(_QUIET)
        with conn.transaction():
            conn.execute(_EMPTY)
            for group in _GROUPS:
                if group.region == region.name:
                    conn.execute(group.statement.encode())
            for name, statement in ((_DEAD, _TOMBSTONE), (_SETTINGS, _SETTING)):
                if region.name in name:
                    first, last = name[region.name]
                    text = statement.format(node=f"node_{region.name}", first=first, last=last)
                    conn.execute(text.encode())
        conn.execute(b"ANALYZE public.users")


Rows = dict[tuple[str, str], str]
Tombstones = frozenset[tuple[str, str, datetime, str]]


def read(conn: Connection) -> Rows:
    """All rows of the account tables by table and uuid, each as the hash of its text."""
    found: Rows = {}
    with conn.transaction():
        conn.execute("SELECT set_config('TimeZone', 'UTC', true)")
        for table in TABLES:
            query = f"SELECT t.uuid::text, md5(t::text) FROM public.{table} AS t"
            found |= {(table, key): content for key, content in conn.execute(query.encode())}
    return found


def read_tombstones(conn: Connection) -> Tombstones:
    """All tombstones: table, uuid, life, and the node that wrote it."""
    query = b"SELECT t.table_name, t.row_key::text, t.created_at, t.node FROM accountdb.tombstone AS t"
    return frozenset(conn.execute(query).fetchall())
