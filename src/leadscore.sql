\echo Use "CREATE EXTENSION leadscore" to load this file. \quit

-- Everything lives in the schema leadscore. CREATE EXTENSION makes it; where it
-- was there before, it must be empty and writable by nobody but its owner, who
-- must be the one installing, or objects of somebody else could be taken for ours.
DO $$
DECLARE
	ns pg_catalog.oid := pg_catalog.to_regnamespace('leadscore');
BEGIN
	IF EXISTS (SELECT 1 FROM pg_catalog.pg_namespace n
			   WHERE n.oid OPERATOR(pg_catalog.=) ns
				 AND n.nspowner OPERATOR(pg_catalog.<>) (SELECT r.oid FROM pg_catalog.pg_roles r
														 WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER))
	   OR EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) ns)
	   OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) ns)
	   OR EXISTS (SELECT 1 FROM pg_catalog.pg_operator o WHERE o.oprnamespace OPERATOR(pg_catalog.=) ns)
	   OR EXISTS (SELECT 1 FROM pg_catalog.pg_type t WHERE t.typnamespace OPERATOR(pg_catalog.=) ns)
	   OR EXISTS (SELECT 1 FROM pg_catalog.pg_namespace n,
						 LATERAL pg_catalog.aclexplode(n.nspacl) a
				  WHERE n.oid OPERATOR(pg_catalog.=) ns
					AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
					AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'schema "leadscore" exists and is not empty, or others can create objects in it',
			HINT = 'Drop the schema, or move what it holds elsewhere, and run CREATE EXTENSION again.';
	END IF;
END
$$;

COMMENT ON SCHEMA leadscore IS 'lead scores, lifecycle stages and funnel analytics (extension leadscore)';
GRANT USAGE ON SCHEMA leadscore TO PUBLIC;
