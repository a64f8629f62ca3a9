-- read --
-- Subscriptions of the database: what must be the same in both regions. Their name and connection are meant
-- to differ, so they are named by what they subscribe to.
SELECT '' AS schema, NULL AS owner,
       'to ' || s.publications || CASE WHEN s.number > 1 THEN ' ' || s.number ELSE '' END AS name,
       jsonb_build_object(
           'publications', s.publications,
           'enabled', s.subenabled,
           'origin', s.suborigin,
           'binary', s.subbinary,
           'streaming', CASE s.substream::text WHEN 'f' THEN 'off' WHEN 'p' THEN 'parallel' ELSE 'on' END,
           'two_phase', s.subtwophasestate <> 'd',
           'disable_on_error', s.subdisableonerr,
           'synchronous_commit', s.subsynccommit,
           'password_required', s.subpasswordrequired,
           'run_as_owner', s.subrunasowner
       ) AS definition,
       s.oid::bigint AS id, 0 AS part
  FROM (SELECT l.publications, t.oid, t.subenabled, t.suborigin, t.subbinary, t.substream, t.subtwophasestate,
               t.subdisableonerr, t.subsynccommit, t.subpasswordrequired, t.subrunasowner,
               row_number() OVER (PARTITION BY l.publications ORDER BY t.subname COLLATE "C") AS number
          FROM pg_catalog.pg_subscription AS t
          JOIN pg_catalog.pg_database AS d ON d.oid = t.subdbid AND d.datname = pg_catalog.current_database()
         CROSS JOIN LATERAL (SELECT string_agg(quote_ident(u), ', ' ORDER BY u COLLATE "C") AS publications
                               FROM unnest(t.subpublications) AS u) AS l) AS s

-- read_before_160000 --
SELECT '' AS schema, NULL AS owner,
       'to ' || s.publications || CASE WHEN s.number > 1 THEN ' ' || s.number ELSE '' END AS name,
       jsonb_build_object(
           'publications', s.publications,
           'enabled', s.subenabled,
           'binary', s.subbinary,
           'streaming', CASE WHEN s.substream THEN 'on' ELSE 'off' END,
           'two_phase', s.subtwophasestate <> 'd',
           'disable_on_error', s.subdisableonerr,
           'synchronous_commit', s.subsynccommit
       ) AS definition,
       s.oid::bigint AS id, 0 AS part
  FROM (SELECT l.publications, t.oid, t.subenabled, t.subbinary, t.substream, t.subtwophasestate,
               t.subdisableonerr, t.subsynccommit,
               row_number() OVER (PARTITION BY l.publications ORDER BY t.subname COLLATE "C") AS number
          FROM pg_catalog.pg_subscription AS t
          JOIN pg_catalog.pg_database AS d ON d.oid = t.subdbid AND d.datname = pg_catalog.current_database()
         CROSS JOIN LATERAL (SELECT string_agg(quote_ident(u), ', ' ORDER BY u COLLATE "C") AS publications
                               FROM unnest(t.subpublications) AS u) AS l) AS s

-- read_before_150000 --
SELECT '' AS schema, NULL AS owner,
       'to ' || s.publications || CASE WHEN s.number > 1 THEN ' ' || s.number ELSE '' END AS name,
       jsonb_build_object(
           'publications', s.publications,
           'enabled', s.subenabled,
           'synchronous_commit', s.subsynccommit
       ) AS definition,
       s.oid::bigint AS id, 0 AS part
  FROM (SELECT l.publications, t.oid, t.subenabled, t.subsynccommit,
               row_number() OVER (PARTITION BY l.publications ORDER BY t.subname COLLATE "C") AS number
          FROM pg_catalog.pg_subscription AS t
          JOIN pg_catalog.pg_database AS d ON d.oid = t.subdbid AND d.datname = pg_catalog.current_database()
         CROSS JOIN LATERAL (SELECT string_agg(quote_ident(u), ', ' ORDER BY u COLLATE "C") AS publications
                               FROM unnest(t.subpublications) AS u) AS l) AS s
