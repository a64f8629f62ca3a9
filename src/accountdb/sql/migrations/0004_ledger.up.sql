-- The ledger: which files are applied now (migration), all that ever was done (migration_log), and how far
-- a file has come that runs statement by statement (migration_progress). The runner makes sure of it before
-- its first step, at whatever version a region stands.
CREATE SCHEMA IF NOT EXISTS accountdb;

CREATE TABLE IF NOT EXISTS accountdb.migration (
    version     integer PRIMARY KEY CHECK (version > 0),
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by  text NOT NULL DEFAULT current_user,
    seconds     double precision NOT NULL
);
COMMENT ON TABLE accountdb.migration IS 'Which migration files were applied here: checksum, who, when, how long.';

-- Every series of files counts for itself: accountdb's own, and those of the operator's folder.
DO $ledger$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                   WHERE a.attrelid = 'accountdb.migration'::regclass AND a.attname = 'series' AND NOT a.attisdropped) THEN
        ALTER TABLE accountdb.migration ADD COLUMN series text NOT NULL DEFAULT 'accountdb';
        ALTER TABLE accountdb.migration ALTER COLUMN version TYPE bigint;
        ALTER TABLE accountdb.migration DROP CONSTRAINT migration_pkey;
        ALTER TABLE accountdb.migration ADD CONSTRAINT migration_pkey PRIMARY KEY (series, version);
    END IF;
END
$ledger$;

-- One line a step, never changed. A run is what was committed together; regions is in how many: so the next
-- run can tell a region in which the commit did not come through from one that was left behind.
CREATE TABLE IF NOT EXISTS accountdb.migration_log (
    run                 uuid NOT NULL,
    position            integer NOT NULL,
    series              text NOT NULL,
    version             bigint NOT NULL,
    name                text NOT NULL,
    direction           text NOT NULL CHECK (direction IN ('up', 'down', 'adopted')),
    checksum            text NOT NULL,
    regions             integer NOT NULL,
    logged_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    logged_by           text NOT NULL DEFAULT session_user,
    seconds             double precision NOT NULL,
    fingerprint_before  text,
    fingerprint_after   text,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE accountdb.migration_log IS
    'All that migrations ever did here: file, checksum, who, when, how long, the structure before and after.';

CREATE TABLE IF NOT EXISTS accountdb.migration_progress (
    series      text NOT NULL,
    version     bigint NOT NULL,
    direction   text NOT NULL CHECK (direction IN ('up', 'down')),
    checksum    text NOT NULL,
    begun       integer NOT NULL,
    done        integer NOT NULL,
    PRIMARY KEY (series, version, direction)
);
COMMENT ON TABLE accountdb.migration_progress IS
    'Files that run statement by statement and are not through: the last statement begun, and the last one done.';
