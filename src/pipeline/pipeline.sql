
-- ---------------------------------------------------------------------------
-- Pipelines: stages, transitions and guards as rows; version 0 is the draft.
-- No foreign keys: a parallel restore would trip over them.
-- ---------------------------------------------------------------------------

CREATE TABLE leadscore.pipeline (
	pipeline text PRIMARY KEY CHECK (pg_catalog.octet_length(pipeline) BETWEEN 1 AND 63),
	live_version int4,
	owner name NOT NULL,
	override_role name,
	import_role name,
	builtin bool NOT NULL DEFAULT false,
	note text
);
COMMENT ON TABLE leadscore.pipeline IS 'pipelines: who owns each, and which version is live';

CREATE TABLE leadscore.pipeline_version (
	pipeline text NOT NULL,
	version int4 NOT NULL CHECK (version >= 0),
	published_at timestamptz,
	published_by name,
	note text,
	PRIMARY KEY (pipeline, version)
);
COMMENT ON TABLE leadscore.pipeline_version IS 'versions of pipelines; 0 is the draft, the others are never changed';

CREATE TABLE leadscore.pipeline_stage (
	pipeline text NOT NULL,
	version int4 NOT NULL,
	stage text NOT NULL CHECK (pg_catalog.octet_length(stage) BETWEEN 1 AND 63),
	ordinal int4 NOT NULL,
	kind text NOT NULL CHECK (kind IN ('open', 'won', 'lost')),
	entry bool NOT NULL,
	service_level interval CHECK (service_level > '0'),
	PRIMARY KEY (pipeline, version, stage)
);
COMMENT ON TABLE leadscore.pipeline_stage IS 'stages of each version of a pipeline, in order';

CREATE TABLE leadscore.pipeline_field (
	pipeline text NOT NULL,
	version int4 NOT NULL,
	field text NOT NULL CHECK (pg_catalog.octet_length(field) BETWEEN 1 AND 63),
	columns name[] NOT NULL,
	optional bool NOT NULL,
	PRIMARY KEY (pipeline, version, field)
);
COMMENT ON TABLE leadscore.pipeline_field IS 'what a pipeline asks of a lead, and the columns it is looked for in, best first';

CREATE TABLE leadscore.pipeline_transition (
	pipeline text NOT NULL,
	version int4 NOT NULL,
	from_stage text NOT NULL,
	to_stage text NOT NULL,
	min_score float8,
	model text,
	role name,
	reason_required bool NOT NULL,
	fields text[] NOT NULL,
	PRIMARY KEY (pipeline, version, from_stage, to_stage),
	CHECK (from_stage <> to_stage)
);
COMMENT ON TABLE leadscore.pipeline_transition IS 'allowed moves, and what each asks for beside its guards';

CREATE TABLE leadscore.pipeline_guard (
	pipeline text NOT NULL,
	version int4 NOT NULL,
	from_stage text NOT NULL,
	to_stage text NOT NULL,
	label text NOT NULL,
	ordinal int4 NOT NULL,
	condition text NOT NULL,
	PRIMARY KEY (pipeline, version, from_stage, to_stage, label)
);
COMMENT ON TABLE leadscore.pipeline_guard IS 'guards: SQL conditions over the new row that a move must meet';

CREATE TABLE leadscore.enforced (
	relation regclass PRIMARY KEY,
	stage_column name NOT NULL,
	key_column name NOT NULL,
	pipeline text NOT NULL,
	fields jsonb NOT NULL,
	model text,
	history bool NOT NULL,
	enforced_by name NOT NULL,
	enforced_at timestamptz NOT NULL,
	adopted bool NOT NULL
);
COMMENT ON TABLE leadscore.enforced IS 'tables under a pipeline (columns as they were named when enforce() ran); adopted: each lead has its history here, since there was none before or all were adopted';

-- ---------------------------------------------------------------------------
-- History. Written by C code straight into the heap; every other way is barred
-- by the triggers below. Partitioned by the date of the move: all rows are in the
-- default partition until somebody adds others (docs/stages.md). One index, as
-- small as can be: it is half the cost of a row. It is on the partition, not on
-- the whole: pg_dump could not restore the indexes of added partitions otherwise.
-- ---------------------------------------------------------------------------

CREATE TABLE leadscore.stage_history (
	id int8 NOT NULL GENERATED ALWAYS AS IDENTITY,
	at timestamptz NOT NULL,
	xact_at timestamptz NOT NULL,
	score float8,
	relation regclass NOT NULL,
	pipeline_version int4,
	model_version int4,
	lead text COLLATE "C" NOT NULL,
	kind text COLLATE "C" NOT NULL,
	from_stage text COLLATE "C",
	to_stage text COLLATE "C",
	pipeline text COLLATE "C",
	session_name text COLLATE "C" NOT NULL,
	user_name text COLLATE "C" NOT NULL,
	reason text,
	model text COLLATE "C"
) PARTITION BY RANGE (at);
CREATE TABLE leadscore.stage_history_default PARTITION OF leadscore.stage_history DEFAULT USING heap;
CREATE INDEX stage_history_lead ON leadscore.stage_history_default (lead);
COMMENT ON TABLE leadscore.stage_history_default IS 'rows of stage_history that no other partition takes';
COMMENT ON TABLE leadscore.stage_history IS 'every stage every lead went through, who moved it, when and why; appended to by leadscore alone';
COMMENT ON COLUMN leadscore.stage_history.id IS 'order of the moves of a lead';
COMMENT ON COLUMN leadscore.stage_history.at IS 'clock time of the move; for imported rows the true time that was given';
COMMENT ON COLUMN leadscore.stage_history.xact_at IS 'start of the transaction that wrote the row';
COMMENT ON COLUMN leadscore.stage_history.kind IS 'entry, move, override, adopted, imported, past, rekeyed, deleted or truncated';
COMMENT ON COLUMN leadscore.stage_history.to_stage IS 'NULL where the lead left the table (deleted, truncated, rekeyed)';

CREATE FUNCTION leadscore.may_read(relation regclass) RETURNS bool
	LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(pg_catalog.has_table_privilege(relation::oid, 'SELECT') AND NOT pg_catalog.row_security_active(relation::oid),
					pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c
											WHERE c.oid = 'leadscore.stage_history'::regclass), 'USAGE'));
END;
COMMENT ON FUNCTION leadscore.may_read(regclass) IS 'whether the caller may see all of a table, and so its history; of a dropped table only the owner of leadscore';

ALTER TABLE leadscore.stage_history ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON leadscore.stage_history FOR SELECT USING (leadscore.may_read(relation));
GRANT SELECT ON leadscore.stage_history TO PUBLIC;
GRANT SELECT ON leadscore.pipeline, leadscore.pipeline_version, leadscore.pipeline_stage, leadscore.pipeline_field,
	leadscore.pipeline_transition, leadscore.pipeline_guard, leadscore.enforced TO PUBLIC;

CREATE FUNCTION leadscore.protect_history() RETURNS trigger
	AS 'MODULE_PATHNAME', 'leadscore_protect_history' LANGUAGE c;
COMMENT ON FUNCTION leadscore.protect_history() IS 'trigger: refuses writes to the history that are not leadscore''s own; a restore may fill it before leadscore has written to it, and partitions that are empty';
-- one for each row, which partitions inherit, and one for TRUNCATE, which they do not
CREATE TRIGGER protect BEFORE INSERT OR UPDATE OR DELETE ON leadscore.stage_history
	FOR EACH ROW EXECUTE FUNCTION leadscore.protect_history();
CREATE TRIGGER protect_truncate BEFORE TRUNCATE ON leadscore.stage_history
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.protect_history();
CREATE TRIGGER protect_truncate BEFORE TRUNCATE ON leadscore.stage_history_default
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.protect_history();
ALTER TABLE leadscore.stage_history ENABLE ALWAYS TRIGGER protect;
ALTER TABLE leadscore.stage_history ENABLE ALWAYS TRIGGER protect_truncate;
ALTER TABLE leadscore.stage_history_default ENABLE ALWAYS TRIGGER protect_truncate;

CREATE FUNCTION leadscore.add_history_partition(from_at timestamptz, to_at timestamptz, name name) RETURNS regclass
	AS 'MODULE_PATHNAME', 'leadscore_add_history_partition' LANGUAGE c STRICT;
COMMENT ON FUNCTION leadscore.add_history_partition(timestamptz, timestamptz, name) IS
	'makes a partition of the history in schema leadscore, with its index and its guard against TRUNCATE, for moves from one instant (included) to another (not included); for the owner of leadscore';
REVOKE ALL ON FUNCTION leadscore.add_history_partition(timestamptz, timestamptz, name) FROM PUBLIC;

CREATE VIEW leadscore.history WITH (security_invoker = true) AS
	SELECT h.relation, h.lead, h.from_stage, h.to_stage, pg_catalog.date_trunc('second', h.at) AS at, h.user_name AS by,
		   CASE WHEN h.kind OPERATOR(pg_catalog.=) ANY ('{move,entry}'::text[]) THEN h.reason
				ELSE pg_catalog.concat_ws(': ', h.kind, h.reason) END AS why,
		   pg_catalog.round(h.score::pg_catalog.numeric, 1) AS score, h.pipeline_version AS version
	FROM leadscore.stage_history h
	ORDER BY h.id;
COMMENT ON VIEW leadscore.history IS 'history of every lead whose table the reader may read: from, to, when, by whom, why, score then, version of the rules';
GRANT SELECT ON leadscore.history TO PUBLIC;

CREATE FUNCTION leadscore.pipeline_model_dropped() RETURNS trigger
	AS 'MODULE_PATHNAME', 'leadscore_pipeline_model_dropped' LANGUAGE c;
COMMENT ON FUNCTION leadscore.pipeline_model_dropped() IS 'trigger: stage rules forget a model that is dropped; it cannot be dropped while a pipeline names it';
REVOKE EXECUTE ON FUNCTION leadscore.pipeline_model_dropped() FROM PUBLIC;
CREATE TRIGGER pipeline_model_dropped AFTER DELETE ON leadscore.model
	FOR EACH ROW EXECUTE FUNCTION leadscore.pipeline_model_dropped();

-- other sessions forget what they compiled when any of these changes
CREATE FUNCTION leadscore.pipeline_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'leadscore_pipeline_changed' LANGUAGE c;
COMMENT ON FUNCTION leadscore.pipeline_changed() IS 'trigger: makes every session compile its stage rules anew';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.pipeline
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.pipeline_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.pipeline_stage
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.pipeline_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.pipeline_field
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.pipeline_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.pipeline_transition
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.pipeline_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.pipeline_guard
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.pipeline_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.enforced
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.pipeline_changed();
ALTER TABLE leadscore.pipeline ENABLE ALWAYS TRIGGER changed;
ALTER TABLE leadscore.pipeline_stage ENABLE ALWAYS TRIGGER changed;
ALTER TABLE leadscore.pipeline_field ENABLE ALWAYS TRIGGER changed;
ALTER TABLE leadscore.pipeline_transition ENABLE ALWAYS TRIGGER changed;
ALTER TABLE leadscore.pipeline_guard ENABLE ALWAYS TRIGGER changed;
ALTER TABLE leadscore.enforced ENABLE ALWAYS TRIGGER changed;

SELECT pg_catalog.pg_extension_config_dump('leadscore.pipeline', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('leadscore.pipeline_version', 'WHERE pipeline <> ''lifecycle''');
SELECT pg_catalog.pg_extension_config_dump('leadscore.pipeline_stage', 'WHERE pipeline <> ''lifecycle''');
SELECT pg_catalog.pg_extension_config_dump('leadscore.pipeline_field', 'WHERE pipeline <> ''lifecycle''');
SELECT pg_catalog.pg_extension_config_dump('leadscore.pipeline_transition', 'WHERE pipeline <> ''lifecycle''');
SELECT pg_catalog.pg_extension_config_dump('leadscore.pipeline_guard', 'WHERE pipeline <> ''lifecycle''');
SELECT pg_catalog.pg_extension_config_dump('leadscore.enforced', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.stage_history', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.stage_history_default', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.stage_history_id_seq', '');

-- ---------------------------------------------------------------------------
-- Enforcement
-- ---------------------------------------------------------------------------

CREATE FUNCTION leadscore.filled(value "any") RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_filled' LANGUAGE c IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.filled("any") IS 'whether a field says something: not NULL, and true, or not blank, or greater than 0, as its type has it';

CREATE FUNCTION leadscore.enforced_columns(VARIADIC "any") RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_enforced_columns' LANGUAGE c IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.enforced_columns("any") IS 'always true; names the columns that a pipeline uses in the WHEN clause of a trigger, so that PostgreSQL follows their renames';

CREATE FUNCTION leadscore.enforce_stage() RETURNS trigger
	AS 'MODULE_PATHNAME', 'leadscore_enforce_stage' LANGUAGE c;
COMMENT ON FUNCTION leadscore.enforce_stage() IS 'trigger made by enforce(): checks and records stage changes';

CREATE FUNCTION leadscore.enforce(relation regclass, stage_column name, pipeline text DEFAULT 'lifecycle', key name DEFAULT NULL,
								  fields jsonb DEFAULT '{}', model text DEFAULT NULL, adopt bool DEFAULT false, history bool DEFAULT true)
	RETURNS int8
	AS 'MODULE_PATHNAME', 'leadscore_enforce' LANGUAGE c;
COMMENT ON FUNCTION leadscore.enforce(regclass, name, text, name, jsonb, text, bool, bool) IS
	'puts a table under a pipeline; fields maps what the pipeline asks for to columns (null: not kept here); model: the score that guards and history see, by default that of the one published model over the table; adopt records the leads it holds and returns their number';

CREATE FUNCTION leadscore.unenforce(relation regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'leadscore_unenforce' LANGUAGE c STRICT;
COMMENT ON FUNCTION leadscore.unenforce(regclass) IS 'takes a table out of its pipeline; its history stays';

CREATE FUNCTION leadscore.next_stages(relation regclass, lead text)
	RETURNS TABLE (stage text, allowed bool, missing text)
	AS 'MODULE_PATHNAME', 'leadscore_next_stages' LANGUAGE c STABLE STRICT ROWS 5;
COMMENT ON FUNCTION leadscore.next_stages(regclass, text) IS 'where a lead can go from its stage, and what is missing for each';

CREATE FUNCTION leadscore.would_refuse(relation regclass, lead text, to_stage text)
	RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'leadscore_would_refuse' LANGUAGE c STABLE STRICT ROWS 3;
COMMENT ON FUNCTION leadscore.would_refuse(regclass, text, text) IS 'everything that is missing for a move, without trying it; no rows: it would be allowed';
