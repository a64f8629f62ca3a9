Up to where a job has been applied, kept in the target and moved in the transaction that applied it.

-- make --
-- Who may not make it needs not, once it is there: made by an administrator's pass, say.
DO $make$
BEGIN
    IF pg_catalog.to_regclass('accountdb.sync_watermark') IS NOT NULL THEN
        RETURN;
    END IF;
    IF pg_catalog.to_regnamespace('accountdb') IS NULL THEN
        CREATE SCHEMA IF NOT EXISTS accountdb;
    END IF;
    CREATE TABLE IF NOT EXISTS accountdb.sync_watermark (
        job text NOT NULL,
        table_schema text NOT NULL,
        table_name text NOT NULL,
        capture text NOT NULL,
        snapshot pg_snapshot NOT NULL,
        source text NOT NULL,
        timeline integer NOT NULL,
        shape text NOT NULL,
        taken_at timestamptz NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
        PRIMARY KEY (job, table_schema, table_name)
    );
    COMMENT ON TABLE accountdb.sync_watermark IS
        'Up to which snapshot of its source each table of a pgsync job has been applied here';
END
$make$;

-- there --
SELECT pg_catalog.to_regclass('accountdb.sync_watermark') IS NOT NULL;

-- read --
SELECT w.table_schema, w.table_name, w.capture, w.snapshot::text, w.source, w.timeline, w.shape, w.taken_at
FROM accountdb.sync_watermark AS w WHERE w.job = %(job)s;

-- move --
INSERT INTO accountdb.sync_watermark AS w
    (job, table_schema, table_name, capture, snapshot, source, timeline, shape, taken_at)
VALUES (%(job)s, %(schema)s, %(table)s, %(capture)s, %(snapshot)s::pg_snapshot, %(source)s, %(timeline)s, %(shape)s, %(taken_at)s)
ON CONFLICT (job, table_schema, table_name) DO UPDATE
SET capture = excluded.capture, snapshot = excluded.snapshot, source = excluded.source, timeline = excluded.timeline,
    shape = excluded.shape, taken_at = excluded.taken_at, applied_at = pg_catalog.clock_timestamp();
