-- What follows DETACH PARTITION.

-- without_copies --
DO $fix$
DECLARE copied record;
BEGIN
    FOR copied IN
        SELECT k.conname FROM pg_catalog.pg_constraint AS k
         WHERE k.conrelid = {table}::pg_catalog.regclass AND k.contype IN ('p', 'u', 'x', 'f') AND k.conparentid = 0
           AND k.conname <> ALL (ARRAY[{kept}]::pg_catalog.text[])
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', {table}, copied.conname);
    END LOOP;
END
$fix$
