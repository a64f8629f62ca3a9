"""What a pass of pgsync is to do when it dies: a few hundred rows, some hundred changes, the same each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accountdb.catalog.tables import read_tables
from accountdb.compare.model import Unwatched
from accountdb.migrations import runner
from accountdb.pg.connect import connect
from accountdb.sync.capture import Capture, install, remove
from accountdb.sync.config import Job
from accountdb.sync.model import PassOptions
from accountdb.sync.passes import run_pass
from proof.apart import TABLES

JOB = "dying"
# Tables tied by references change together; what is in another group may be a pass ahead.
GROUPS = (("users", "identities", "sessions", "subscriptions"), ("admin_settings",))

# References in a circle, which a pass has to make deferrable meanwhile, and an index that a load in one piece
# drops and makes again, with what hangs on it.
_BOTH = b"""
ALTER TABLE public.users ADD COLUMN IF NOT EXISTS proof_identity uuid;
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS users_proof_identity_fkey;
ALTER TABLE public.users ADD CONSTRAINT users_proof_identity_fkey
    FOREIGN KEY (proof_identity) REFERENCES public.identities (uuid) ON DELETE SET NULL;
CREATE INDEX IF NOT EXISTS subscriptions_status_idx ON public.subscriptions (status) WITH (fillfactor = 80);
COMMENT ON INDEX public.subscriptions_status_idx IS 'by status, it''s "50 %"';
"""
# Triggers of the destination that a pass has to switch off meanwhile, of both kinds.
_DESTINATION = b"""
CREATE OR REPLACE FUNCTION public.proof_rewrites() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.origin_node := 'rewritten';
    RETURN NEW;
END
$$;
DROP TRIGGER IF EXISTS proof_rewrites ON public.identities;
CREATE TRIGGER proof_rewrites BEFORE INSERT OR UPDATE ON public.identities
    FOR EACH ROW EXECUTE FUNCTION public.proof_rewrites();
ALTER TABLE public.identities ENABLE ALWAYS TRIGGER proof_rewrites;
DROP TRIGGER IF EXISTS proof_rewrites ON public.sessions;
CREATE TRIGGER proof_rewrites BEFORE INSERT OR UPDATE ON public.sessions
    FOR EACH ROW EXECUTE FUNCTION public.proof_rewrites();
"""
_EMPTY = b"""
TRUNCATE public.users, public.identities, public.sessions, public.admin_settings, public.subscriptions
"""
_FORGET = b"DROP TABLE IF EXISTS accountdb.sync_watermark"
_FORGET_LOG = b"""
DO $$
BEGIN
    IF to_regclass('accountdb.change_log') IS NOT NULL THEN
        DELETE FROM accountdb.change_log;
        DELETE FROM accountdb.change_reader;
    END IF;
END
$$
"""

_USERS = """
INSERT INTO public.users (uuid, username, email, password, level)
SELECT md5('user' || n)::uuid, 'name' || n, 'mail' || n || '@example.cn', 'secret', n FROM generate_series({}, {}) AS n;
"""
_IDENTITIES = """
INSERT INTO public.identities (uuid, provider, external_id, user_uuid)
SELECT md5('identity' || n)::uuid, 'github', 'value' || n, md5('user' || n)::uuid FROM generate_series({0}, {1}) AS n;
UPDATE public.users SET proof_identity = md5('identity' || level)::uuid WHERE level BETWEEN {0} AND {1};
"""
_SESSIONS = """
INSERT INTO public.sessions (uuid, token, expires_at, user_uuid)
SELECT md5('session' || n)::uuid, 'token' || n, timestamptz '2027-01-01 00:00Z', md5('user' || n)::uuid
FROM generate_series({}, {}) AS n;
"""
_SUBSCRIPTIONS = """
INSERT INTO public.subscriptions (uuid, user_uuid, provider, payment_method, external_id, payment_qr)
SELECT md5('subscription' || n)::uuid, md5('user' || n)::uuid, 'p', 'card', 'value' || n, repeat(md5(n::text), 20)
FROM generate_series({}, {}) AS n;
"""
_SETTINGS = """
INSERT INTO public.admin_settings (uuid, module_key, role)
SELECT md5('setting' || n)::uuid, 'module' || n, 'admin' FROM generate_series({}, {}) AS n;
"""
_ROWS = (
    _USERS.format(1, 200)
    + _IDENTITIES.format(1, 180)
    + _SESSIONS.format(1, 90)
    + _SUBSCRIPTIONS.format(1, 90)
    + _SETTINGS.format(1, 40)
)
# Rows that come, change and go in each table, with their children; values that change places; a table that is
# emptied as a whole and filled again, with some of its old rows.
_CHANGES = (
    _USERS.format(201, 230)
    + _IDENTITIES.format(201, 220)
    + _SUBSCRIPTIONS.format(201, 210)
    + """
UPDATE public.users SET groups = '["changed"]' WHERE level BETWEEN 20 AND 60;
UPDATE public.users SET username = 'between', email = NULL WHERE level = 10;
UPDATE public.users SET username = 'name10', email = 'mail10@example.cn' WHERE level = 11;
UPDATE public.users SET username = 'name11', email = 'mail11@example.cn' WHERE level = 10;
UPDATE public.identities SET user_uuid = md5('user1')::uuid, external_id = 'moved' || external_id
WHERE uuid IN (SELECT md5('identity' || n)::uuid FROM generate_series(70, 90) AS n);
UPDATE public.subscriptions SET status = 'cancelled' WHERE external_id LIKE 'value3%';
DELETE FROM public.users WHERE level BETWEEN 100 AND 115;
DELETE FROM public.subscriptions WHERE external_id IN ('value1', 'value2', 'value3');
UPDATE public.admin_settings SET enabled = false WHERE module_key LIKE 'module1%';
DELETE FROM public.admin_settings WHERE module_key = 'module5';
TRUNCATE public.sessions;
"""
    + _SESSIONS.format(2, 40)
    + _SESSIONS.format(120, 150)
)
# A destination that somebody has written to: own rows, with values that the source gives to others; changed ones;
# missing ones, with their children.
_STRANGE = """
INSERT INTO public.users (uuid, username, email, password, level)
SELECT md5('own' || n)::uuid, 'name' || n + 200, 'own' || n || '@example.cn', 'own', n + 5000
FROM generate_series(1, 8) AS n;
INSERT INTO public.sessions (uuid, token, expires_at, user_uuid)
SELECT md5('own' || n)::uuid, 'own' || n, now(), md5('own' || n)::uuid FROM generate_series(1, 8) AS n;
UPDATE public.users SET password = 'changed', version = 0 WHERE level BETWEEN 5 AND 30;
UPDATE public.identities SET external_id = external_id || '!' WHERE external_id LIKE 'value4%';
UPDATE public.admin_settings SET enabled = false WHERE module_key LIKE 'module2%';
DELETE FROM public.users WHERE level BETWEEN 120 AND 140;
DELETE FROM public.subscriptions WHERE external_id LIKE 'value5%';
DROP TABLE accountdb.sync_watermark;
"""


@dataclass(frozen=True)
class Scene:
    """``words`` are the command's. ``synced``: a pass was made before the changes; ``strange``: and then forgotten,
    at a destination that others have written to."""

    words: tuple[str, ...] = ()
    synced: bool = False
    strange: bool = False


SCENES: Mapping[str, Scene] = {
    "first": Scene(),
    "changes": Scene(synced=True),
    "once": Scene(words=("--once",), synced=True, strange=True),
}


@dataclass(frozen=True)
class Pair:
    """Two databases, as the ordinary role that owns them."""

    source: str = field(repr=False)
    destination: str = field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The job."""
        return {
            "source": {"dsn": self.source},
            "destination": {"dsn": self.destination},
            "tables": {table: {} for table in TABLES},
            # Rows that are asked for by their keys come in several pieces.
            "batch_size": 50,
        }

    @property
    def config(self) -> str:
        """The job file. What JSON says is YAML too."""
        return json.dumps({"jobs": {JOB: self.document}})


def prepare(pair: Pair, capture: Capture) -> None:
    """The schema on both sides, whatever there was, and the log of changes, or none."""
    for dsn in (pair.source, pair.destination):
        with connect(dsn) as conn:
            runner.migrate(conn)
        _run(dsn, _BOTH)
    _run(pair.destination, _DESTINATION)
    with connect(pair.source) as conn:
        tables = [table for table in read_tables(conn) if table.name in TABLES]
        if capture is Capture.LOG:
            install(conn, tables)
        else:
            for table in tables:
                remove(conn, table)


def write(pair: Pair, scene: Scene) -> None:
    """Both sides as they are before the command, whatever they were."""
    for dsn in (pair.destination, pair.source):
        _run(dsn, _EMPTY)
    _run(pair.destination, _FORGET)
    _run(pair.source, _ROWS.encode(), _FORGET_LOG)
    if scene.synced:
        run_pass(JOB, Job.model_validate(pair.document), PassOptions(), Unwatched())
        _run(pair.source, _CHANGES.encode())
    if scene.strange:
        _run(pair.destination, _STRANGE.encode())


def _run(dsn: str, *statements: bytes) -> None:
    with connect(dsn, application="accountdb proof") as conn:
        for statement in statements:
            conn.execute(statement)
