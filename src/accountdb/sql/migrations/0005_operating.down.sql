ALTER TABLE IF EXISTS accountdb.pending_subscription
    DROP COLUMN IF EXISTS provider_node,
    DROP COLUMN IF EXISTS provider;
DROP FUNCTION IF EXISTS accountdb.conflict_counts();
DROP TABLE IF EXISTS accountdb.last_run;
DROP FUNCTION IF EXISTS accountdb.beat(interval);
DROP TABLE IF EXISTS accountdb.heartbeat;
DROP FUNCTION IF EXISTS accountdb.beat_arrives();
