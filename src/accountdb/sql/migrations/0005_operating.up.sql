-- What operating needs: beats that measure how far behind a stream is, what ran last, and numbers that a
-- role may read that must not see a row.

-- One line a beat of each region, replicated as it is written. The time between a beat and its arrival is the lag of the
-- stream in seconds, also when nothing else is written. Both times are of the clocks of their regions.
CREATE TABLE IF NOT EXISTS accountdb.heartbeat (
    node        text NOT NULL,
    beat_at     timestamptz NOT NULL,
    arrived_at  timestamptz,
    PRIMARY KEY (node, beat_at)
);
COMMENT ON TABLE accountdb.heartbeat IS
    'Beats of every region. arrived_at: when a beat of another region was applied here. Kept for 25 hours.';

-- A beat that comes again, after a crash or a resync, is passed over: it must not stop a stream.
CREATE OR REPLACE FUNCTION accountdb.beat_arrives() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF EXISTS (SELECT FROM accountdb.heartbeat AS h WHERE h.node = NEW.node AND h.beat_at = NEW.beat_at) THEN
        RETURN NULL;
    END IF;
    NEW.arrived_at := clock_timestamp();
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION accountdb.beat_arrives() IS 'Notes when a beat of another region is applied.';
CREATE OR REPLACE TRIGGER beat_arrives BEFORE INSERT ON accountdb.heartbeat
    FOR EACH ROW EXECUTE FUNCTION accountdb.beat_arrives();
ALTER TABLE accountdb.heartbeat ENABLE REPLICA TRIGGER beat_arrives;

-- Several programs may watch one region: a beat within a gap of the last one is not made again.
CREATE OR REPLACE FUNCTION accountdb.beat(gap interval DEFAULT '5 seconds') RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
DECLARE
    here text := accountdb.node_name();
    last timestamptz := (SELECT max(h.beat_at) FROM accountdb.heartbeat AS h WHERE h.node = here);
BEGIN
    -- A clock that was put back must not silence the beats until it has caught up.
    IF last > clock_timestamp() - gap AND last <= clock_timestamp() THEN
        RETURN last;
    END IF;
    INSERT INTO accountdb.heartbeat (node, beat_at) VALUES (here, clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING beat_at INTO last;
    -- Each region clears its own, which is replicated; of a region that left, nobody else does.
    DELETE FROM accountdb.heartbeat AS h WHERE h.node = here AND h.beat_at < clock_timestamp() - interval '25 hours';
    DELETE FROM accountdb.heartbeat AS h WHERE h.beat_at < clock_timestamp() - interval '50 hours';
    RETURN last;
END
$function$;
REVOKE ALL ON FUNCTION accountdb.beat(interval) FROM PUBLIC;
COMMENT ON FUNCTION accountdb.beat(interval) IS 'Writes a beat of this region, unless the last one is younger than the gap.';

-- What ran last, by kind (merge, heal) and the regions that it was about.
CREATE TABLE IF NOT EXISTS accountdb.last_run (
    kind      text NOT NULL,
    partners  text NOT NULL,
    ended_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds   double precision NOT NULL,
    equal     boolean,
    written   bigint NOT NULL,
    PRIMARY KEY (kind, partners)
);
COMMENT ON TABLE accountdb.last_run IS
    'The last merge and the last healing pass with each partner: when it ended, how long it took, whether both were equal.';

-- accountdb.conflict holds secrets; how many there are is none.
CREATE OR REPLACE FUNCTION accountdb.conflict_counts(
    OUT open bigint, OUT recorded bigint, OUT last_minute bigint, OUT last_hour bigint, OUT newest timestamptz
)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
    SELECT (SELECT count(*) FROM accountdb.conflict AS c
            WHERE c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)),
           (SELECT count(*) FROM accountdb.conflict),
           (SELECT count(*) FROM accountdb.conflict AS c WHERE c.recorded_at > clock_timestamp() - interval '1 minute'),
           (SELECT count(*) FROM accountdb.conflict AS c WHERE c.recorded_at > clock_timestamp() - interval '1 hour'),
           (SELECT max(c.recorded_at) FROM accountdb.conflict AS c)
$function$;
REVOKE ALL ON FUNCTION accountdb.conflict_counts() FROM PUBLIC;
COMMENT ON FUNCTION accountdb.conflict_counts() IS 'How many conflicts there are: open, in all, of the last minute and hour.';

-- With several regions several subscriptions may wait: each for the provider that it was asked of.
ALTER TABLE accountdb.pending_subscription
    ADD COLUMN IF NOT EXISTS provider text,
    ADD COLUMN IF NOT EXISTS provider_node text;
COMMENT ON COLUMN accountdb.pending_subscription.provider IS
    'The database that is waited for, as system identifier and OID. NULL where nobody noted it.';
COMMENT ON COLUMN accountdb.pending_subscription.provider_node IS 'Its node name, where it had one by then.';
