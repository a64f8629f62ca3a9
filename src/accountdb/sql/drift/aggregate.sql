-- read --
-- Aggregates, named with their argument types. The server writes no definition of them; this one can be run.
SELECT n.nspname AS schema, NULL AS owner,
       p.proname || '(' || oidvectortypes(p.proargtypes) || ')' AS name,
       jsonb_build_object(
           'definition',
           format('CREATE AGGREGATE %%I.%%I(%%s) (%%s)', n.nspname, p.proname,
                  CASE WHEN p.pronargs = 0 AND g.aggkind = 'n' THEN '*'
                       ELSE pg_get_function_identity_arguments(p.oid) END,
                  concat_ws(', ',
                      'SFUNC = ' || nullif(g.aggtransfn, 0)::regproc,
                      'STYPE = ' || format_type(g.aggtranstype, NULL),
                      'SSPACE = ' || nullif(g.aggtransspace, 0),
                      'FINALFUNC = ' || nullif(g.aggfinalfn, 0)::regproc,
                      CASE WHEN g.aggfinalextra THEN 'FINALFUNC_EXTRA' END,
                      'FINALFUNC_MODIFY = ' || CASE WHEN g.aggfinalmodify <> CASE g.aggkind WHEN 'n' THEN 'r' ELSE 'w' END
                           THEN CASE g.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE'
                                                      ELSE 'READ_WRITE' END END,
                      'COMBINEFUNC = ' || nullif(g.aggcombinefn, 0)::regproc,
                      'SERIALFUNC = ' || nullif(g.aggserialfn, 0)::regproc,
                      'DESERIALFUNC = ' || nullif(g.aggdeserialfn, 0)::regproc,
                      'INITCOND = ' || quote_literal(g.agginitval),
                      'MSFUNC = ' || nullif(g.aggmtransfn, 0)::regproc,
                      'MINVFUNC = ' || nullif(g.aggminvtransfn, 0)::regproc,
                      'MSTYPE = ' || CASE WHEN g.aggmtranstype <> 0 THEN format_type(g.aggmtranstype, NULL) END,
                      'MSSPACE = ' || nullif(g.aggmtransspace, 0),
                      'MFINALFUNC = ' || nullif(g.aggmfinalfn, 0)::regproc,
                      CASE WHEN g.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END,
                      'MFINALFUNC_MODIFY = ' || CASE WHEN g.aggmtranstype <> 0 AND g.aggmfinalmodify <>
                           CASE g.aggkind WHEN 'n' THEN 'r' ELSE 'w' END
                           THEN CASE g.aggmfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE'
                                                       ELSE 'READ_WRITE' END END,
                      'MINITCOND = ' || quote_literal(g.aggminitval),
                      'SORTOP = ' || CASE WHEN g.aggsortop <> 0
                           THEN format('OPERATOR(%%I.%%s)', o.nspname, s.oprname) END,
                      'PARALLEL = ' || CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' END,
                      CASE WHEN g.aggkind = 'h' THEN 'HYPOTHETICAL' END))
       ) AS definition,
       p.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_aggregate AS g
  JOIN pg_catalog.pg_proc AS p ON p.oid = g.aggfnoid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  LEFT JOIN pg_catalog.pg_operator AS s ON s.oid = g.aggsortop
  LEFT JOIN pg_catalog.pg_namespace AS o ON o.oid = s.oprnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
