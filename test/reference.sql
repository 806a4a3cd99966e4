-- docs/reference.md, made from the comments of the installed extension (see test/reference)
\pset format unaligned
\pset tuples_only on
\pset footer off
SET search_path = leadscore, pg_catalog;

-- one cell of a table: one line, and no bar that would end it
CREATE FUNCTION pg_temp.cell(text) RETURNS text LANGUAGE sql AS
	$$SELECT replace(regexp_replace($1, '\s*\n\s*', ' ', 'g'), '|', '\|')$$;

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'leadscore' AND d.deptype = 'e';

\qecho '# Reference'
\qecho ''
\qecho 'Every object of the extension that is made to be used, with its comment. Made by `test/reference` from the catalog: do not edit.'
\qecho 'In psql: `\\df+ leadscore.*`, `\\do+ leadscore.*`, `\\dT+ leadscore.*`. What is not listed here only serves the types, operators and triggers.'
\qecho ''
\qecho '## Types'
\qecho ''
\qecho '| type | |'
\qecho '|---|---|'
SELECT format('| `%s` | %s |', format_type(t.oid, NULL), pg_temp.cell(obj_description(t.oid, 'pg_type')))
FROM member JOIN pg_type t ON classid = 'pg_type'::regclass AND t.oid = objid
WHERE t.typtype = 'b' AND t.typelem = 0 AND obj_description(t.oid, 'pg_type') NOT LIKE 'internal:%' ORDER BY t.typname;
\qecho ''
\qecho '## Operators'
\qecho ''
\qecho '| operator | gives | |'
\qecho '|---|---|---|'
SELECT format('| `%s` | `%s` | %s |',
              replace(CASE WHEN oprleft = 0 THEN '' ELSE format_type(oprleft, NULL) || ' ' END || oprname || ' ' || format_type(oprright, NULL), '|', '\|'),
              format_type(oprresult, NULL), pg_temp.cell(obj_description(o.oid, 'pg_operator')))
FROM member JOIN pg_operator o ON classid = 'pg_operator'::regclass AND o.oid = objid
WHERE obj_description(o.oid, 'pg_operator') NOT LIKE 'internal:%'
ORDER BY format_type(oprright, NULL) <> 'score', oprname, 1;
\qecho ''
\qecho '## Operator classes'
\qecho ''
\qecho '| class | method | for | |'
\qecho '|---|---|---|---|'
SELECT format('| `%s`%s | %s | `%s` | %s |', opcname, CASE WHEN opcdefault THEN ' (default)' END, amname,
              format_type(opcintype, NULL), pg_temp.cell(obj_description(c.oid, 'pg_opclass')))
FROM member JOIN pg_opclass c ON classid = 'pg_opclass'::regclass AND c.oid = objid JOIN pg_am a ON a.oid = opcmethod
ORDER BY format_type(opcintype, NULL), amname;

-- a function is for use unless it is behind something else or may not be called by PUBLIC
CREATE TEMP VIEW usable AS
SELECT p.oid, p.proname, p.prokind,
       format('%s(%s)', p.proname,
              regexp_replace(regexp_replace(pg_get_function_arguments(p.oid), '(, )?(OUT|TABLE) .*$', ''),
                             ' DEFAULT (NULL|''\{\}'')::[a-z ]+(\[\])?', ' DEFAULT NULL', 'g')) AS call,
       regexp_replace(regexp_replace(pg_get_function_result(p.oid), '^TABLE\(', 'rows ('), '^SETOF record$',
                      'rows (' || coalesce((SELECT string_agg(n, ', ' ORDER BY i)
                                            FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY AS u(n, m, i)
                                            WHERE m IN ('o', 't')), '') || ')') AS result,
       pg_temp.cell(obj_description(p.oid, 'pg_proc')) AS about
FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
WHERE obj_description(p.oid, 'pg_proc') NOT LIKE 'internal:%'
  AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'cstring'::regtype)
  AND NOT 'internal'::regtype = ANY (p.proargtypes) AND NOT 'cstring'::regtype = ANY (p.proargtypes)
  AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'))
  AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
  AND NOT EXISTS (SELECT FROM pg_amproc a WHERE a.amproc = p.oid)
  AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = p.oid)
  AND NOT EXISTS (SELECT FROM pg_type t WHERE p.oid IN (t.typsend, t.typreceive, t.typinput, t.typoutput))
  AND NOT EXISTS (SELECT FROM pg_aggregate g WHERE p.oid IN (g.aggtransfn, g.aggcombinefn, g.aggfinalfn))
  AND NOT EXISTS (SELECT FROM pg_proc f WHERE f.prosupport = p.oid);
\qecho ''
\qecho '## Functions'
\qecho ''
\qecho '| function | gives | |'
\qecho '|---|---|---|'
SELECT format('| `%s` | %s | %s |', replace(call, '|', '\|'), pg_temp.cell(result), about) FROM usable WHERE prokind = 'f' ORDER BY proname, call;
\qecho ''
\qecho '## Aggregates'
\qecho ''
\qecho '| aggregate | gives | |'
\qecho '|---|---|---|'
SELECT format('| `%s` | %s | %s |', replace(call, '|', '\|'), pg_temp.cell(result), about) FROM usable WHERE prokind = 'a' ORDER BY proname, call;
\qecho ''
\qecho '## Tables and views'
\qecho ''
\qecho 'Only the extension writes them.'
\qecho ''
\qecho '| table | |'
\qecho '|---|---|'
SELECT format('| `%s` | %s |', c.relname, pg_temp.cell(obj_description(c.oid, 'pg_class')))
FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid
WHERE c.relkind IN ('r', 'v', 'p') ORDER BY c.relname;
\qecho ''
\qecho '## Settings'
\qecho ''
\qecho '| setting | |'
\qecho '|---|---|'
LOAD 'leadscore';
SELECT format('| `%s` | %s |', name, short_desc || coalesce(' ' || extra_desc, ''))
FROM pg_settings WHERE name LIKE 'leadscore.%' ORDER BY name;
