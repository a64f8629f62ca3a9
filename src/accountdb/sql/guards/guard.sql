The guard of one table, as templates: names in braces are filled in by accountdb.guards.definition
with psycopg.sql, never by text replacement. A guard fires only while a replication worker (or a
merge) applies, and settles conflicts there by the policy. It never raises for one; it does where it is itself out of date.

-- function --
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS {tag}
#variable_conflict use_column
DECLARE
    incoming {table};
    here {table};
    rival {table};
    accountdb_here_content jsonb;
    accountdb_incoming_content jsonb;
    accountdb_here_wins boolean;
    accountdb_is_new boolean;
    accountdb_stands boolean;
    accountdb_heir uuid;
    seen record;
    accountdb_outer text;
BEGIN
    -- The ordinary case: a change on top of what accountdb_stands here, which claims and refers to nothing new.
    IF TG_OP = 'UPDATE' THEN
        IF NEW.version > OLD.version AND {unchanged} THEN
            {keep_generated}
            RETURN NEW;
        END IF;
    END IF;

    -- A merge has judged this row already.
    IF current_setting('accountdb.judged', true) = 'on' THEN
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        RETURN NEW;
    END IF;

    IF TG_OP = 'DELETE' THEN
        {delete}
        RETURN OLD;
    END IF;

    -- What a guard writes itself needs no second judgement.
    IF pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;

    -- What it writes has the columns that it knows: a value of another one would be lost without a word. So the
    -- stream waits until the guard has been made anew. Looked at once for the rows of a table that come in a row.
    IF current_setting('accountdb.guarded', true) IS DISTINCT FROM TG_RELID::text THEN
        IF EXISTS (SELECT FROM pg_attribute AS a
                   WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL ({known})) THEN
            RAISE EXCEPTION 'the guard on %.% is older than a column of the table', TG_TABLE_SCHEMA, TG_TABLE_NAME
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'migratectl init makes it anew';
        END IF;
        PERFORM set_config('accountdb.guarded', TG_RELID::text, true);
    END IF;

    -- From here on the guard does the whole write itself and vetoes the engine's. pglogical turns an
    -- INSERT that meets a plain unique index into an UPDATE of that other row: it is still an INSERT.
    accountdb_is_new := TG_OP = 'INSERT' OR OLD.uuid <> NEW.uuid;
    FOR accountdb_attempt IN 1..5 LOOP
        BEGIN
            incoming := NEW;
            {fill_generated}
            accountdb_stands := NOT accountdb_is_new;

            -- A late change of a row that died does not bring it back.
            PERFORM FROM accountdb.tombstone AS t
            WHERE t.row_key = incoming.uuid AND t.table_schema = {schema_name} AND t.table_name = {table_name}
              AND t.created_at = incoming.created_at;
            IF FOUND THEN
                PERFORM accountdb.record_conflict('dead_row', {schema_name}, {table_name}, incoming.uuid,
                    'delete_wins', NULL, accountdb.row_content(incoming, {generated}));
                RETURN NULL;
            END IF;
            {references}
            IF accountdb_is_new THEN
                {try_insert}
                SELECT r.* INTO here FROM {table} AS r WHERE r.uuid = incoming.uuid FOR UPDATE;
                accountdb_stands := FOUND;
            ELSE
                here := OLD;
            END IF;

            -- Two copies of one row: the row order decides, the same on both sides.
            IF accountdb_stands AND incoming.version <= here.version THEN
                accountdb_here_content := accountdb.row_content(here, {generated});
                accountdb_incoming_content := accountdb.row_content(incoming, {generated});
                IF accountdb_here_content = accountdb_incoming_content THEN
                    RETURN NULL;
                END IF;
                accountdb_here_wins := accountdb.row_wins(
                    here.version, here.updated_at, here.origin_node, md5(accountdb_here_content::text),
                    incoming.version, incoming.updated_at, incoming.origin_node, md5(accountdb_incoming_content::text));
                PERFORM accountdb.record_conflict(
                    'update_update', {schema_name}, {table_name}, incoming.uuid, 'row_order',
                    CASE WHEN accountdb_here_wins THEN accountdb_here_content ELSE accountdb_incoming_content END,
                    CASE WHEN accountdb_here_wins THEN accountdb_incoming_content ELSE accountdb_here_content END);
                IF accountdb_here_wins THEN
                    RETURN NULL;
                END IF;
            END IF;
            {claims}
            IF accountdb_stands THEN
                {update}
            ELSE
                {insert}
            END IF;
            RETURN NULL;
        EXCEPTION
            WHEN unique_violation THEN
                NULL;
            WHEN serialization_failure OR deadlock_detected OR lock_not_available OR insufficient_resources
                OR operator_intervention OR system_error THEN
                RAISE;
            WHEN OTHERS THEN
                PERFORM accountdb.record_conflict('unknown', {schema_name}, {table_name}, NEW.uuid, 'parked',
                    NULL, accountdb.row_content(NEW, {generated}), 'open', SQLSTATE || ' ' || SQLERRM);
                RETURN NULL;
        END;
    END LOOP;
    PERFORM accountdb.record_conflict('unknown', {schema_name}, {table_name}, NEW.uuid, 'parked',
        NULL, accountdb.row_content(NEW, {generated}), 'open', 'its unique values could not be settled');
    RETURN NULL;
END
{tag};

-- delete --
-- The deleter noted what it saw of this row before it deleted it.
        SELECT t.version, t.updated_at, t.origin_node, t.winner INTO seen
        FROM accountdb.tombstone AS t
        WHERE t.row_key = OLD.uuid AND t.table_schema = {schema_name} AND t.table_name = {table_name}
          AND t.created_at = OLD.created_at
        ORDER BY t.deleted_at DESC, t.node LIMIT 1;
        IF NOT FOUND THEN
            IF pg_trigger_depth() = 1 AND EXISTS (
                SELECT FROM accountdb.tombstone AS t
                WHERE t.row_key = OLD.uuid AND t.table_schema = {schema_name} AND t.table_name = {table_name}) THEN
                -- The delete was of an earlier life of this row.
                RETURN NULL;
            END IF;
            PERFORM accountdb.bury({schema_name}, {table_name}, OLD.uuid, OLD.created_at,
                OLD.version, OLD.updated_at, OLD.origin_node);
            IF pg_trigger_depth() > 1 THEN
                -- Its parent was deleted by somebody who did not know of this row.
                PERFORM accountdb.record_conflict('child_of_deleted', {schema_name}, {table_name}, OLD.uuid,
                    'delete_wins', NULL, accountdb.row_content(OLD, {generated}));
            END IF;
        ELSIF (OLD.version, OLD.updated_at, OLD.origin_node)
              IS DISTINCT FROM (seen.version, seen.updated_at, seen.origin_node) THEN
            PERFORM accountdb.record_conflict('update_delete', {schema_name}, {table_name}, OLD.uuid,
                'delete_wins', NULL, accountdb.row_content(OLD, {generated}));
        END IF;
        {children}

-- children --
-- A way of references may lead back to a row that is being deleted already.
        accountdb_outer := coalesce(current_setting('accountdb.deleting', true), '');
        IF position(OLD.uuid::text IN accountdb_outer) > 0 THEN
            RETURN NULL;
        END IF;
        PERFORM set_config('accountdb.deleting', accountdb_outer || OLD.uuid::text, true);
        {each}
        PERFORM set_config('accountdb.deleting', accountdb_outer, true);

-- child_stays --
-- Not a row that is being deleted itself: it refers to itself, or to one that goes along with it.
position(c.uuid::text IN accountdb_outer || OLD.uuid::text) = 0

-- child --
-- A table that was dropped since this guard was made has no rows to take along.
        BEGIN
        {part}
        EXCEPTION WHEN undefined_table OR undefined_column THEN
            NULL;
        END;

-- child_deleted --
-- Foreign keys are not enforced while a worker applies: the guard does what {constraint} says.
        DELETE FROM {child} AS c WHERE {match};

-- child_emptied --
UPDATE {child} AS c SET {empty} WHERE {match} AND {stays};

-- child_inherited --
-- Merged into another account: what the merge did not know of follows it.
        IF seen.winner IS NOT NULL THEN
            FOR accountdb_heir IN SELECT c.uuid FROM {child} AS c
                WHERE {match} AND {stays} LOOP
                BEGIN
                    UPDATE {child} AS c SET {column} = seen.winner WHERE c.uuid = accountdb_heir;
                EXCEPTION WHEN unique_violation THEN
                    NULL; -- the winner has the same one: this one goes with its account, below
                END;
            END LOOP;
        END IF;

-- try_insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({incoming_values}) ON CONFLICT DO NOTHING;
                IF FOUND THEN
                    RETURN NULL;
                END IF;

-- insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({incoming_values}) ON CONFLICT DO NOTHING;
                IF NOT FOUND THEN
                    -- Another session took the value meanwhile and has committed: judge again.
                    RAISE unique_violation;
                END IF;

-- insert_deferrable --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({incoming_values});

-- fill_generated --
incoming.{column} := (SELECT {expression} FROM (SELECT {bases}) AS incoming_row);

-- update --
UPDATE {table} AS r SET ({columns}) = ROW ({incoming_values}) WHERE r.uuid = incoming.uuid;

-- keep_generated --
-- PL/pgSQL empties generated columns in NEW. The executor fills them again, pglogical does not.
            IF {changed} THEN
                NEW.{column} := (SELECT {expression} FROM (SELECT {bases}) AS incoming_row);
            ELSE
                NEW.{column} := OLD.{column};
            END IF;

-- reference --
-- {constraint}: the lock keeps a local delete of the parent from slipping in between.
            IF {given} THEN
                PERFORM FROM {parent} AS p WHERE {match} FOR KEY SHARE;
                IF NOT FOUND THEN
                    {missing}
                END IF;
            END IF;

-- reference_inherited --
accountdb_heir := {value};
                    FOR accountdb_step IN 1..10 LOOP
                        SELECT t.winner INTO accountdb_heir FROM accountdb.tombstone AS t
                        WHERE t.row_key = accountdb_heir AND t.table_schema = {parent_schema} AND t.table_name = {parent_table}
                          AND t.winner IS NOT NULL
                        ORDER BY t.deleted_at DESC LIMIT 1;
                        EXIT WHEN accountdb_heir IS NULL;
                        PERFORM FROM {parent} AS p WHERE p.{parent_column} = accountdb_heir FOR KEY SHARE;
                        EXIT WHEN FOUND;
                    END LOOP;
                    IF accountdb_heir IS NOT NULL THEN
                        {value} := accountdb_heir;
                    ELSE
                        {otherwise}
                    END IF;

-- reference_emptied --
{empty}

-- reference_parked --
PERFORM FROM accountdb.tombstone AS t
                        WHERE t.row_key = {value} AND t.table_schema = {parent_schema} AND t.table_name = {parent_table};
                        IF FOUND THEN
                            PERFORM accountdb.bury({schema_name}, {table_name}, r.uuid, r.created_at,
                                r.version, r.updated_at, r.origin_node) FROM {table} AS r WHERE r.uuid = incoming.uuid;
                            PERFORM accountdb.bury({schema_name}, {table_name}, incoming.uuid, incoming.created_at,
                                incoming.version, incoming.updated_at, incoming.origin_node);
                            DELETE FROM {table} AS r WHERE r.uuid = incoming.uuid;
                            PERFORM accountdb.record_conflict('orphan', {schema_name}, {table_name}, incoming.uuid,
                                'delete_wins', NULL, accountdb.row_content(incoming, {generated}), 'settled', {constraint_name});
                            RETURN NULL;
                        END IF;
                        {parent_unknown}

-- parent_unknown --
PERFORM accountdb.record_conflict('orphan', {schema_name}, {table_name}, incoming.uuid,
                            'parent_missing', NULL, accountdb.row_content(incoming, {generated}), 'open', {constraint_name});
                        RETURN NULL;

-- parent_may_follow --
-- The constraint may be deferred: the parent can come later in the same transaction.
                        NULL;

-- claim --
-- Unique index {index}: the first registration keeps the value.
            SELECT r.* INTO rival FROM {table} AS r WHERE {match} AND r.uuid <> incoming.uuid LIMIT 1 FOR UPDATE;
            IF FOUND THEN
                IF accountdb.claim_wins(rival.created_at, rival.uuid, incoming.created_at, incoming.uuid) THEN
                    PERFORM accountdb.record_conflict('unique_claim', {schema_name}, {table_name}, incoming.uuid,
                        'first_registration', accountdb.row_content(rival, {generated}),
                        accountdb.row_content(incoming, {generated}), 'open', {index_name}, {incoming_identity});
                    {incoming_loses}
                ELSE
                    PERFORM accountdb.record_conflict('unique_claim', {schema_name}, {table_name}, rival.uuid,
                        'first_registration', accountdb.row_content(incoming, {generated}),
                        accountdb.row_content(rival, {generated}), 'open', {index_name}, {rival_identity});
                    {rival_loses}
                END IF;
            END IF;

-- incoming_released --
incoming.{column} := {incoming_value};
                    incoming.version := incoming.version + 1;

-- rival_released --
UPDATE {table} AS r SET {column} = {rival_value}, version = r.version + 1 WHERE r.uuid = rival.uuid;

-- incoming_parked --
PERFORM accountdb.bury({schema_name}, {table_name}, r.uuid, r.created_at,
                        r.version, r.updated_at, r.origin_node) FROM {table} AS r WHERE r.uuid = incoming.uuid;
                    PERFORM accountdb.bury({schema_name}, {table_name}, incoming.uuid, incoming.created_at,
                        incoming.version, incoming.updated_at, incoming.origin_node);
                    DELETE FROM {table} AS r WHERE r.uuid = incoming.uuid;
                    RETURN NULL;

-- rival_parked --
PERFORM accountdb.bury({schema_name}, {table_name}, rival.uuid, rival.created_at,
                        rival.version, rival.updated_at, rival.origin_node);
                    DELETE FROM {table} AS r WHERE r.uuid = rival.uuid;

-- capture --
-- Fires for local deletes: tombstones of the row, and of all that goes along with it, are written
-- before the first of them is deleted, and so reach the other region before the delete does.
CREATE OR REPLACE FUNCTION {capture}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS {tag}
DECLARE
    accountdb_into text := current_setting('accountdb.merged_into', true);
BEGIN
    PERFORM accountdb.bury({schema_name}, {table_name}, OLD.uuid, OLD.created_at,
        OLD.version, OLD.updated_at, OLD.origin_node);
    {along}
    RETURN OLD;
END
{tag};

-- all_along --
-- The heir is this row's: what goes along has none.
    PERFORM set_config('accountdb.merged_into', '', true);
    {each}
    PERFORM set_config('accountdb.merged_into', coalesce(accountdb_into, ''), true);

-- along --
PERFORM accountdb.bury({child_schema}, {child_table}, c.uuid, c.created_at, c.version, c.updated_at, c.origin_node)
    FROM {joined} WHERE {match};

-- owner --
ALTER FUNCTION {function}() OWNER TO {owner};
ALTER FUNCTION {capture}() OWNER TO {owner};
REVOKE ALL ON FUNCTION {function}(), {capture}() FROM PUBLIC;
GRANT SELECT ON accountdb.tombstone TO {owner};
GRANT EXECUTE ON FUNCTION accountdb.bury(text, text, uuid, timestamptz, bigint, timestamptz, text) TO {owner};
GRANT EXECUTE ON FUNCTION accountdb.record_conflict(text, text, text, uuid, text, jsonb, jsonb, text, text, jsonb) TO {owner};
{related}

-- triggers --
-- A replication worker, or a merge with the right to be like one, fires accountdb_guard; a merge by an
-- ordinary role, which sets accountdb.apply, fires accountdb_apply. No condition on accountdb_guard: an
-- apply worker would parse it anew for every row, a tenth of its time.
CREATE OR REPLACE TRIGGER accountdb_guard BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE REPLICA TRIGGER accountdb_guard;
COMMENT ON TRIGGER accountdb_guard ON {table} IS {comment};
CREATE OR REPLACE TRIGGER accountdb_apply BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW WHEN (pg_catalog.current_setting('accountdb.apply', true) = 'on') EXECUTE FUNCTION {function}();
COMMENT ON TRIGGER accountdb_apply ON {table} IS {comment};
CREATE OR REPLACE TRIGGER accountdb_bury BEFORE DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {capture}();
COMMENT ON TRIGGER accountdb_bury ON {table} IS {comment};
CREATE OR REPLACE TRIGGER accountdb_revive BEFORE INSERT ON {table}
    FOR EACH ROW WHEN (pg_catalog.current_setting('accountdb.apply', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION accountdb.revive();
COMMENT ON TRIGGER accountdb_revive ON {table} IS {comment};
CREATE OR REPLACE TRIGGER accountdb_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION accountdb.refuse_truncate();
COMMENT ON TRIGGER accountdb_truncate ON {table} IS {comment};

-- installed --
-- The triggers that make up a guard: schema, table, trigger, mode, comment with the definition hash.
SELECT n.nspname, c.relname, t.tgname, t.tgenabled::text,
       pg_catalog.obj_description(t.oid, 'pg_trigger')
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgname = ANY (%(triggers)s) AND NOT t.tgisinternal
ORDER BY 1, 2, 3;
