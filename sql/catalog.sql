-- regression test: the catalog rows of the extension (in the manner of opr_sanity)
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = pg_catalog, pg_temp;

-- what is ours: by membership, not by schema
CREATE TEMP VIEW ours AS
SELECT d.classid, d.objid
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'leadscore' AND d.deptype = 'e';
CREATE TEMP VIEW our_proc AS
SELECT p.* FROM pg_proc p JOIN ours o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid;
CREATE TEMP VIEW our_opr AS
SELECT p.* FROM pg_operator p JOIN ours o ON o.classid = 'pg_operator'::regclass AND o.objid = p.oid;

SELECT count(*) > 0 AS has_members FROM ours;

-- every query from here on finds nothing

-- functions, types, operators, classes, relations outside the schema
SELECT pg_describe_object(o.classid, o.objid, 0) AS outside
FROM ours o, pg_identify_object(o.classid, o.objid, 0) i
WHERE i.schema IS DISTINCT FROM 'leadscore' AND o.classid <> ALL (ARRAY['pg_cast', 'pg_namespace', 'pg_proc', 'pg_event_trigger']::regclass[])
ORDER BY 1;

-- members whose dependencies lead out of pg_catalog and leadscore
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS member, pg_describe_object(d.refclassid, d.refobjid, 0) AS needs
FROM pg_depend d JOIN ours o USING (classid, objid), pg_identify_object(d.refclassid, d.refobjid, 0) i
WHERE d.deptype = 'n' AND i.schema IS NOT NULL AND i.schema NOT IN ('leadscore', 'pg_catalog', 'information_schema')
ORDER BY 1, 2;

-- a C function that any SQL user may call takes and returns no "internal" unless
-- the server calls it (I/O, support, trigger, index functions name it by design)
SELECT p.oid::regprocedure AS returns_internal_without_taking_it
FROM our_proc p
WHERE p.prorettype = 'internal'::regtype AND NOT 'internal'::regtype = ANY (p.proargtypes)
ORDER BY 1;

-- PARALLEL labels: what writes or keeps state is not safe, what only computes is
SELECT p.oid::regprocedure AS immutable_but_not_parallel_safe
FROM our_proc p WHERE p.provolatile = 'i' AND p.proparallel <> 's' AND p.prokind IN ('f', 'a')
ORDER BY 1;
SELECT p.oid::regprocedure AS trigger_not_volatile
FROM our_proc p WHERE p.prorettype = 'trigger'::regtype AND p.provolatile <> 'v'
ORDER BY 1;

-- a SECURITY DEFINER function fixes its search_path
SELECT p.oid::regprocedure AS definer_without_search_path
FROM our_proc p WHERE p.prosecdef AND NOT coalesce(array_to_string(p.proconfig, ' '), '') LIKE '%search_path=%'
ORDER BY 1;
-- a function in SQL is bound at creation or fixes its search_path, with pg_temp last
SELECT p.oid::regprocedure AS unbound_sql_function
FROM our_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE l.lanname <> 'c' AND l.lanname <> 'internal' AND p.prokind <> 'a' AND p.prosqlbody IS NULL
  AND NOT coalesce(array_to_string(p.proconfig, ' '), '') LIKE '%search_path=%pg_temp%'
ORDER BY 1;

-- operators: their commutator and negator point back, and are not the operator itself by accident
SELECT o.oid::regoperator AS broken_commutator
FROM our_opr o LEFT JOIN pg_operator c ON c.oid = o.oprcom
WHERE o.oprcom <> 0
  AND (c.oid IS NULL OR c.oprcom <> o.oid OR c.oprleft <> o.oprright OR c.oprright <> o.oprleft OR c.oprresult <> o.oprresult)
ORDER BY 1;
SELECT o.oid::regoperator AS broken_negator
FROM our_opr o LEFT JOIN pg_operator n ON n.oid = o.oprnegate
WHERE o.oprnegate <> 0
  AND (n.oid IS NULL OR n.oprnegate <> o.oid OR n.oid = o.oid OR o.oprresult <> 'bool'::regtype
       OR n.oprleft <> o.oprleft OR n.oprright <> o.oprright)
ORDER BY 1;
-- a shell operator, left over from a COMMUTATOR that was never defined
SELECT o.oid::regoperator AS shell_operator FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE n.nspname = 'leadscore' AND o.oprcode = 0
ORDER BY 1;
-- a symmetric comparison has its commutator
SELECT o.oid::regoperator AS comparison_without_commutator
FROM our_opr o WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=') AND (o.oprcom = 0 OR o.oprnegate = 0)
ORDER BY 1;
-- merge- and hash-joinable operators are in a btree or hash class, and the other way round for =
SELECT o.oid::regoperator AS joinable_but_in_no_class
FROM our_opr o
WHERE (o.oprcanmerge AND NOT EXISTS (SELECT 1 FROM pg_amop a JOIN pg_am m ON m.oid = a.amopmethod
                                     WHERE a.amopopr = o.oid AND m.amname = 'btree' AND a.amopstrategy = 3))
   OR (o.oprcanhash AND NOT EXISTS (SELECT 1 FROM pg_amop a JOIN pg_am m ON m.oid = a.amopmethod
                                    WHERE a.amopopr = o.oid AND m.amname = 'hash'))
ORDER BY 1;
-- estimators where the planner needs them
SELECT o.oid::regoperator AS without_estimator
FROM our_opr o WHERE o.oprresult = 'bool'::regtype AND o.oprkind = 'b' AND (o.oprrest = 0 OR o.oprjoin = 0)
ORDER BY 1;
-- an operator's function is as strict and as immutable as an index needs
SELECT o.oid::regoperator AS index_operator_not_immutable_strict
FROM our_opr o JOIN pg_amop a ON a.amopopr = o.oid JOIN pg_proc p ON p.oid = o.oprcode
WHERE p.provolatile <> 'i' OR NOT p.proisstrict
ORDER BY 1;
SELECT a.amproc::regprocedure AS index_support_not_immutable
FROM pg_amproc a JOIN our_proc p ON p.oid = a.amproc
WHERE p.provolatile <> 'i'
ORDER BY 1;

-- types: in, out, recv and send exist and are strict, immutable and parallel safe (or stable, if documented)
SELECT t.typname AS type_without_binary_io
FROM pg_type t JOIN ours o ON o.classid = 'pg_type'::regclass AND o.objid = t.oid
WHERE t.typtype = 'b' AND t.typelem = 0 AND (t.typreceive = 0 OR t.typsend = 0)
ORDER BY 1;
SELECT t.typname, p.oid::regprocedure AS io_function
FROM pg_type t JOIN ours o ON o.classid = 'pg_type'::regclass AND o.objid = t.oid
JOIN pg_proc p ON p.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend)
WHERE t.typtype = 'b' AND t.typelem = 0 AND (NOT p.proisstrict OR p.provolatile = 'v' OR p.proparallel <> 's')
ORDER BY 1, 2;
SELECT o.opcname, amvalidate(o.oid)
FROM pg_opclass o JOIN ours x ON x.classid = 'pg_opclass'::regclass AND x.objid = o.oid
WHERE NOT amvalidate(o.oid)
ORDER BY 1;

-- aggregates: a state that can be split, never "internal"; parallel safe ones can combine
SELECT a.aggfnoid::regprocedure AS aggregate_with_internal_state
FROM pg_aggregate a JOIN our_proc p ON p.oid = a.aggfnoid WHERE a.aggtranstype = 'internal'::regtype
ORDER BY 1;
SELECT a.aggfnoid::regprocedure AS parallel_aggregate_without_combine
FROM pg_aggregate a JOIN our_proc p ON p.oid = a.aggfnoid WHERE p.proparallel = 's' AND a.aggcombinefn = 0
ORDER BY 1;

-- PUBLIC may write no table or sequence of ours
SELECT c.oid::regclass AS writable_by_public, a.privilege_type
FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid, aclexplode(c.relacl) a
WHERE a.grantee = 0 AND a.privilege_type <> 'SELECT'
ORDER BY 1, 2;

-- configuration: every table's rows and sequences are dumped, or are nobody's to keep
SELECT c.oid::regclass AS table_not_dumped
FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
WHERE c.relkind IN ('r', 'p', 'S')
  AND NOT c.oid = ANY (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'leadscore')
ORDER BY 1;
