
-- ---------------------------------------------------------------------------
-- Overrides, true dates, the past; seals and audits; time in stages
-- ---------------------------------------------------------------------------

CREATE FUNCTION leadscore.override(reason text) RETURNS void
	AS 'MODULE_PATHNAME', 'leadscore_override' LANGUAGE c;
COMMENT ON FUNCTION leadscore.override(text) IS
	'for the rest of the transaction, moves that the rules would refuse are made and recorded as overrides; for members of the override role of the pipeline';

CREATE FUNCTION leadscore.backdate(at timestamptz) RETURNS void
	AS 'MODULE_PATHNAME', 'leadscore_backdate' LANGUAGE c;
COMMENT ON FUNCTION leadscore.backdate(timestamptz) IS
	'for the rest of the transaction, moves are recorded with this true date, as imported (NULL: no longer); for members of the import role of the pipeline';

CREATE FUNCTION leadscore.import_history(relation regclass, lead text, from_stage text, to_stage text, at timestamptz, reason text DEFAULT NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_import_history' LANGUAGE c;
COMMENT ON FUNCTION leadscore.import_history(regclass, text, text, text, timestamptz, text) IS
	'records a move of the time before leadscore (kind past); for members of the import role of the pipeline';

CREATE TABLE leadscore.history_seal (
	id int8 PRIMARY KEY,
	hash bytea NOT NULL
);
COMMENT ON TABLE leadscore.history_seal IS 'the hash chain over history: sha256 of the hash before and the row';
CREATE TABLE leadscore.history_relation (
	relation regclass PRIMARY KEY,
	name text NOT NULL
);
COMMENT ON TABLE leadscore.history_relation IS 'the name under which each table is in the hash chain';
SELECT pg_catalog.pg_extension_config_dump('leadscore.history_seal', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.history_relation', '');

CREATE FUNCTION leadscore.attest() RETURNS text
	AS 'MODULE_PATHNAME', 'leadscore_attest' LANGUAGE c;
COMMENT ON FUNCTION leadscore.attest() IS 'seals the history written so far; returns id and hash of the last row, to be kept where nobody who can write here can';

CREATE FUNCTION leadscore.audit() RETURNS TABLE (relation text, id int8, finding text)
	AS 'MODULE_PATHNAME', 'leadscore_audit' LANGUAGE c;
COMMENT ON FUNCTION leadscore.audit() IS 'sealed rows of history that were changed or deleted, triggers that are off, leads whose stage is not where their history ends; no rows: all is well';
REVOKE ALL ON FUNCTION leadscore.attest() FROM PUBLIC;
REVOKE ALL ON FUNCTION leadscore.audit() FROM PUBLIC;

CREATE FUNCTION leadscore.forget_dropped() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'leadscore_forget_dropped' LANGUAGE c;
COMMENT ON FUNCTION leadscore.forget_dropped() IS 'event trigger: takes dropped tables off the list of enforced ones; their history stays';
CREATE EVENT TRIGGER leadscore_forget_dropped ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
	EXECUTE FUNCTION leadscore.forget_dropped();
COMMENT ON EVENT TRIGGER leadscore_forget_dropped IS 'takes dropped tables off the list of enforced ones';

CREATE FUNCTION leadscore.follow_partitions() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'leadscore_follow_partitions' LANGUAGE c;
COMMENT ON FUNCTION leadscore.follow_partitions() IS 'event trigger: gives new partitions of enforced tables the trigger on TRUNCATE, which is not inherited';
CREATE EVENT TRIGGER leadscore_follow_partitions ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE')
	EXECUTE FUNCTION leadscore.follow_partitions();
COMMENT ON EVENT TRIGGER leadscore_follow_partitions IS 'gives new partitions of enforced tables the trigger on TRUNCATE';

CREATE FUNCTION leadscore.pipeline_of(relation regclass) RETURNS text
	AS 'MODULE_PATHNAME', 'leadscore_pipeline_of' LANGUAGE c STABLE STRICT;
COMMENT ON FUNCTION leadscore.pipeline_of(regclass) IS 'the pipeline that a table is under; an error if it is under none';

CREATE FUNCTION leadscore.time_in_stage(relation regclass)
	RETURNS TABLE (lead text, stage text, since timestamptz, days float8)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT l.lead, l.to_stage, l.at, extract(epoch FROM pg_catalog.now() - l.at)::float8 / 86400
	FROM (SELECT DISTINCT ON (h.lead) h.lead, h.to_stage, h.at
		  FROM leadscore.stage_history h WHERE h.relation = $1 AND h.kind <> 'past'
		  ORDER BY h.lead, h.id DESC) l
	WHERE l.to_stage IS NOT NULL AND leadscore.pipeline_of($1) IS NOT NULL;
END;
COMMENT ON FUNCTION leadscore.time_in_stage(regclass) IS 'the stage each lead is in, since when, and for how many days';

CREATE FUNCTION leadscore.overdue(relation regclass)
	RETURNS TABLE (lead text, stage text, since timestamptz, days float8, service_level interval, overdue interval)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT t.lead, t.stage, t.since, t.days, s.service_level, pg_catalog.now() - (t.since + s.service_level)
	FROM leadscore.enforced e
	JOIN leadscore.pipeline p ON p.pipeline = e.pipeline
	JOIN leadscore.pipeline_stage s ON s.pipeline = p.pipeline AND s.version = p.live_version
	JOIN leadscore.time_in_stage($1) t ON t.stage = s.stage
	WHERE leadscore.pipeline_of($1) IS NOT NULL AND e.relation = $1 AND t.since + s.service_level < pg_catalog.now()
	ORDER BY 6 DESC, 1;
END;
COMMENT ON FUNCTION leadscore.overdue(regclass) IS 'leads that are in their stage for longer than its service level, the longest overdue first';
