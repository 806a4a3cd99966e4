-- regression test: what CREATE EXTENSION promises (in a database of its own)
CREATE DATABASE leadscore_install;
\c leadscore_install
CREATE EXTENSION leadscore;

-- fixed schema, not relocatable
SELECT extname, n.nspname, extrelocatable
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE extname = 'leadscore';

-- every object has a comment
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'leadscore' AND d.deptype = 'e'
  AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
                    'pg_operator'::regclass, 'pg_opclass'::regclass)
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL
  AND NOT (d.classid = 'pg_type'::regclass
           AND EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = d.objid
                       AND (t.typelem <> 0 OR t.typrelid <> 0)))
  AND NOT (d.classid = 'pg_class'::regclass
           AND EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('i', 'S', 't')))
ORDER BY 1;

-- no operator class is incomplete or wrong
SELECT opcname, amvalidate(c.oid)
FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace
WHERE n.nspname = 'leadscore' AND NOT amvalidate(c.oid)
ORDER BY 1;

DROP EXTENSION leadscore;
SET client_min_messages = warning;
SELECT count(*) AS left_behind FROM pg_proc WHERE pronamespace = to_regnamespace('leadscore');

-- a schema in which something was planted is not adopted
CREATE SCHEMA IF NOT EXISTS leadscore;
CREATE TABLE leadscore.model (planted int);
\set VERBOSITY terse
CREATE EXTENSION leadscore;
DROP SCHEMA leadscore CASCADE;

\c contrib_regression
DROP DATABASE leadscore_install;
