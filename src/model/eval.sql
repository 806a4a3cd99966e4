-- scoring in a query, and what tells backends that a model changed

CREATE FUNCTION leadscore.model_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'leadscore_model_changed' LANGUAGE C;
COMMENT ON FUNCTION leadscore.model_changed() IS
'statement trigger on the tables of models: tells every session that what it keeps of models is out of date';
REVOKE EXECUTE ON FUNCTION leadscore.model_changed() FROM PUBLIC;

CREATE TRIGGER model_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.model
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.model_changed();
CREATE TRIGGER model_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.model_version
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.model_changed();
CREATE TRIGGER model_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.component
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.model_changed();
CREATE TRIGGER model_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.rule
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.model_changed();
CREATE TRIGGER model_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadscore.band
	FOR EACH STATEMENT EXECUTE FUNCTION leadscore.model_changed();

CREATE FUNCTION leadscore.fit_support(internal) RETURNS internal
AS 'MODULE_PATHNAME', 'leadscore_fit_support' LANGUAGE C STRICT;
COMMENT ON FUNCTION leadscore.fit_support(internal) IS
'planner support for leadscore.fit: passes only the columns that rules read';

CREATE FUNCTION leadscore.fit(model text, lead record) RETURNS float8
AS 'MODULE_PATHNAME', 'leadscore_fit' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20
SUPPORT leadscore.fit_support;
COMMENT ON FUNCTION leadscore.fit(text, record) IS
'the score that the live version''s rules give a row of the leads by itself, without events: components and total within their bounds; NULL for a NULL row or key';

CREATE FUNCTION leadscore.fit_columns(model text, version int, attnos int2[], VARIADIC columns "any") RETURNS float8
AS 'MODULE_PATHNAME', 'leadscore_fit_columns' LANGUAGE C STABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION leadscore.fit_columns(text, int, int2[], "any") IS
'what the planner makes of leadscore.fit: the lead''s key and the columns that a version''s rules read, by number';

-- who may see what was made from the rows of a table

CREATE FUNCTION leadscore.reads_all(relation regclass) RETURNS bool
AS 'MODULE_PATHNAME', 'leadscore_reads_all' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.reads_all(regclass) IS
'internal: may one read all of a table: SELECT on it, and no row security that applies; false if there is no such table';

-- rules that fail

CREATE TABLE leadscore.rule_error (
	model		text NOT NULL,
	version		int NOT NULL,
	rule		text NOT NULL,
	message		text NOT NULL,
	failures	bigint NOT NULL,
	at			timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadscore.rule_error IS 'statements in which a rule could not be evaluated, and over how many rows';

CREATE VIEW leadscore.rule_errors AS
SELECT e.model, e.version, e.rule, e.failures, e.first_at, e.last_at,
	   CASE WHEN leadscore.reads_all(CASE r.source WHEN 'lead' THEN m.leads ELSE m.events END) THEN e.last_message END AS last_message
FROM (SELECT o.model, o.version, o.rule, pg_catalog.sum(o.failures)::bigint AS failures,
			 pg_catalog.min(o.at) AS first_at, pg_catalog.max(o.at) AS last_at,
			 (pg_catalog.array_agg(o.message ORDER BY o.at DESC))[1] AS last_message
	  FROM leadscore.rule_error o
	  GROUP BY o.model, o.version, o.rule) e
JOIN leadscore.model m ON m.model OPERATOR(pg_catalog.=) e.model
LEFT JOIN leadscore.rule r ON r.model OPERATOR(pg_catalog.=) e.model AND r.version OPERATOR(pg_catalog.=) e.version
	AND r.rule OPERATOR(pg_catalog.=) e.rule;
COMMENT ON VIEW leadscore.rule_errors IS 'rules that failed when scores were kept (they count as not matched): how often, when, why; last_message may show values of the row, and is NULL to those who may not read all of the rule''s table';
GRANT SELECT ON leadscore.rule_errors TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('leadscore.rule_error', '');

-- scores left behind

CREATE TABLE leadscore.left_behind (
	model		text NOT NULL,
	message		text NOT NULL,
	since		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadscore.left_behind IS 'what left the stored scores of a model behind: changes of its tables while it did not fit them';

CREATE VIEW leadscore.not_kept AS
SELECT l.model, l.since,
	   CASE WHEN leadscore.reads_all(m.leads) AND (m.events IS NULL OR leadscore.reads_all(m.events)) THEN l.message END AS message
FROM (SELECT DISTINCT ON (o.model) o.model, o.since, o.message FROM leadscore.left_behind o ORDER BY o.model, o.since) l
JOIN leadscore.model m ON m.model OPERATOR(pg_catalog.=) l.model;
COMMENT ON VIEW leadscore.not_kept IS 'models whose stored scores are out of date, since when and why: their tables were changed while the model did not fit them; leadscore.rescore() or publish() ends it; message is NULL to those who may not read all leads and events';
GRANT SELECT ON leadscore.not_kept TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('leadscore.left_behind', '');

CREATE FUNCTION leadscore.judge(judge bigint, event bool, columns record) RETURNS float8[]
AS 'MODULE_PATHNAME', 'leadscore_judge' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION leadscore.judge(bigint, bool, record) IS
'internal: what each rule that may fail gives a row, in the queries that leadscore runs: points, or NULL: no match, NaN: undecided, -Infinity: failed';
