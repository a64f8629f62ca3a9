"""What a dashboard has to show: open conflicts and a day of beats, the same in both regions, sent by no stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accountdb.pg.connect import connect

# What must never be seen, in every row that has a place for it.
SECRETS = ("pw-hidden-1", "totp-hidden-2", "token-hidden-3")
# What could break a page: markup, a sign that turns the direction of writing, a line's end, a very long word.
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'&<img src=x onerror=alert(2)>",
    "a\u202egnp.exe",
    "two\nlines",
    "x" * 10_000,
)
_NAMES = ("li", "wang", "zhang", "garcia", "smith", "müller")

# Both regions get the same rows at the same times: a conflict has one id everywhere.
_CONFLICTS = """
WITH pair AS (
    SELECT n, v.name, md5('winner' || n)::uuid AS winner, md5('loser' || n)::uuid AS loser,
           %(now)s::timestamptz - n * interval '7 minutes' AS at, left(md5(n::text), 6) || n || '@example.cn' AS email
    FROM unnest(%(names)s::text[]) WITH ORDINALITY AS v (name, n)
), person AS (
    INSERT INTO public.users (uuid, username, password, email, mfa_totp_secret, created_at, updated_at, origin_node)
    SELECT p.winner, p.name || '.cn.' || p.n, 'pw-hidden-1' || p.n, p.email, 'totp-hidden-2', p.at, p.at, 'node_cn'
    FROM pair AS p
    UNION ALL
    SELECT p.loser, p.name || '.global.' || p.n, 'pw-hidden-1-' || p.n, NULL, 'totp-hidden-2', p.at, p.at, 'node_global'
    FROM pair AS p
    RETURNING uuid, accountdb.row_content(users.*, '{email_verified}') AS content
), session AS (
    INSERT INTO public.sessions (uuid, token, expires_at, user_uuid, created_at, updated_at, origin_node)
    SELECT md5(u.uuid::text)::uuid, 'token-hidden-3' || u.uuid, %(now)s::timestamptz + interval '1 day', u.uuid,
           %(now)s, %(now)s, 'node_cn'
    FROM person AS u
), loser AS (
    SELECT p.*, w.content AS winner_row, l.content || jsonb_build_object('email', p.email) AS loser_row
    FROM pair AS p JOIN person AS w ON w.uuid = p.winner JOIN person AS l ON l.uuid = p.loser
)
SELECT accountdb.record_conflict('unique_claim', 'public', 'users', l.loser, 'first_registration', l.winner_row,
                                 l.loser_row, 'open', 'users_email_lower_uk')
FROM loser AS l;
"""
_TIMES = """
UPDATE accountdb.conflict AS c SET recorded_at = %(now)s::timestamptz - v.n * interval '5 minutes'
FROM generate_series(1, %(count)s) AS v (n) WHERE c.row_key = md5('loser' || v.n)::uuid;
"""
# An outage seven hours ago, after which its beats came all at once; and an hour without any.
_BEATS = """
INSERT INTO accountdb.heartbeat (node, beat_at, arrived_at)
SELECT %(other)s, t.at,
       t.at + CASE WHEN t.ago BETWEEN interval '6 hours 40 minutes' AND interval '7 hours'
                        THEN t.ago - interval '6 hours 40 minutes'
                   ELSE interval '1 millisecond' * (
                        20 + 40 * (1.2 + sin(extract(epoch FROM t.at) / 9000 + length(%(other)s)))
                        + 15 * abs(sin(extract(epoch FROM t.at) * length(%(other)s)))) END
FROM (SELECT g AS at, %(now)s::timestamptz - g AS ago
      FROM generate_series(%(now)s::timestamptz - interval '24 hours', %(now)s::timestamptz, %(every)s) AS g) AS t
WHERE t.ago NOT BETWEEN interval '14 hours' AND interval '15 hours'
ON CONFLICT DO NOTHING;
"""


def fill(regions: Mapping[str, str], conflicts: int, *, every: str = "15 seconds", hostile: bool = False) -> None:
    """Fill the regions (node name: DSN of a superuser). Streams pass it over: it has an origin of its own."""
    names = _names(conflicts, hostile=hostile)
    now = None
    for node, dsn in regions.items():
        others = [other for other in regions if other != node]
        with connect(dsn) as conn:
            origin = f"accountdb_filling_{conn.info.dbname}"
            conn.execute(
                "SELECT pg_replication_origin_create(%(name)s)"
                " WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = %(name)s)",
                {"name": origin},
            )
            conn.execute("SELECT pg_replication_origin_session_setup(%s)", (origin,))
            now = now or (conn.execute("SELECT now()").fetchone() or (None,))[0]
            values = {"now": now, "names": names, "count": len(names), "every": every}
            conn.execute(_CONFLICTS, values)
            conn.execute(_TIMES, values)
            for other in others:
                conn.execute(_BEATS, {**values, "other": other})


def _names(count: int, *, hostile: bool) -> list[str]:
    found: Sequence[str] = (*HOSTILE, *_NAMES) if hostile else _NAMES
    return [found[n] if n < len(found) else _NAMES[n % len(_NAMES)] for n in range(count)]
