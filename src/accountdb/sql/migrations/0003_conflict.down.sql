DROP TABLE IF EXISTS accountdb.pending_subscription;
DROP FUNCTION IF EXISTS accountdb.record_conflict(text, text, text, jsonb, text, jsonb, jsonb, text);
DROP TABLE IF EXISTS accountdb.conflict;
DROP FUNCTION IF EXISTS accountdb.row_wins(bigint, timestamptz, text, text, bigint, timestamptz, text, text);
DROP FUNCTION IF EXISTS accountdb.row_content(anyelement, text[]);
