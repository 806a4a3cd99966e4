-- models: components, rules and bands in versions; version 0 is the draft.
-- Written by the functions below only (they run catalog writes as the owner of
-- the extension); readable by everybody, as pg_constraint is.

-- No foreign keys between these tables: pg_restore -j fills the tables of an extension
-- in any order. The functions that delete from one delete from those that hang on it.

CREATE TABLE leadscore.model (
	model		text PRIMARY KEY
				CONSTRAINT model_name CHECK (pg_catalog.octet_length(model) OPERATOR(pg_catalog.>=) 1
											 AND pg_catalog.octet_length(model) OPERATOR(pg_catalog.<=) 57),
	leads		regclass NOT NULL,
	lead_key	name NOT NULL,
	events		regclass,
	event_lead	name,
	event_at	name,
	live_version int,
	created_at	timestamptz NOT NULL DEFAULT pg_catalog.now(),
	created_by	name NOT NULL DEFAULT CURRENT_USER,
	CONSTRAINT model_events CHECK ((events IS NULL) OPERATOR(pg_catalog.=) (event_lead IS NULL)
								   AND (events IS NULL) OPERATOR(pg_catalog.=) (event_at IS NULL))
);
COMMENT ON TABLE leadscore.model IS 'scoring models: which table holds the leads, which the interactions, and the version that is live';

CREATE TABLE leadscore.model_version (
	model		text NOT NULL,
	version		int NOT NULL CONSTRAINT model_version_number CHECK (version OPERATOR(pg_catalog.>=) 0),
	published_at timestamptz,
	published_by name,
	lo			float8,
	hi			float8,
	note		text,
	PRIMARY KEY (model, version)
);
COMMENT ON TABLE leadscore.model_version IS 'versions of scoring models: who published what when; version 0 is the draft; lo and hi are the bounds of the total';

CREATE TABLE leadscore.component (
	model		text NOT NULL,
	version		int NOT NULL,
	component	text NOT NULL,
	ordinal		int NOT NULL,
	half_life	interval,
	lo			float8,
	hi			float8,
	PRIMARY KEY (model, version, component),
	UNIQUE (model, version, ordinal)
);
COMMENT ON TABLE leadscore.component IS 'components of scoring models: half-life (none: does not age) and bounds of what the component contributes';

CREATE TABLE leadscore.rule (
	model		text NOT NULL,
	version		int NOT NULL,
	rule		text NOT NULL,
	component	text NOT NULL,
	ordinal		int NOT NULL,
	source		text NOT NULL CONSTRAINT rule_source CHECK (source OPERATOR(pg_catalog.=) ANY (ARRAY['lead', 'event'])),
	condition	text NOT NULL,
	points		text NOT NULL,
	at_most		int,
	per			interval,
	valid_from	timestamptz,
	valid_until timestamptz,
	enabled		bool NOT NULL DEFAULT true,
	condition_sql text NOT NULL,
	points_sql	text NOT NULL,
	PRIMARY KEY (model, version, rule),
	UNIQUE (model, version, ordinal)
);
COMMENT ON TABLE leadscore.rule IS 'rules of scoring models: condition and points as written, and as understood (condition_sql, points_sql: names fully qualified)';

CREATE TABLE leadscore.band (
	model		text NOT NULL,
	version		int NOT NULL,
	band		text NOT NULL,
	least		float8 NOT NULL,
	PRIMARY KEY (model, version, band),
	UNIQUE (model, version, least)
);
COMMENT ON TABLE leadscore.band IS 'bands of scoring models: a lead is in the band with the largest least that its score reaches';

SELECT pg_catalog.pg_extension_config_dump('leadscore.model', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.model_version', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.component', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.rule', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.band', '');

GRANT SELECT ON leadscore.model, leadscore.model_version, leadscore.component, leadscore.rule, leadscore.band TO PUBLIC;

-- editing the draft

CREATE FUNCTION leadscore.create_model(model text, leads regclass, events regclass DEFAULT NULL,
	event_lead name DEFAULT NULL, event_at name DEFAULT NULL, lead_key name DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_create_model' LANGUAGE C;
COMMENT ON FUNCTION leadscore.create_model(text, regclass, regclass, name, name, name) IS
'new scoring model on a table of leads and, optionally, one of interactions; defaults: lead_key = primary key, event_lead = the foreign key to the leads or the column named like their key, event_at = the only timestamptz column; temporary and unlogged tables are refused; returns what was understood';

CREATE FUNCTION leadscore.drop_model(model text)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_drop_model' LANGUAGE C;
COMMENT ON FUNCTION leadscore.drop_model(text) IS
'drops a scoring model with all its versions and its stored scores';

CREATE FUNCTION leadscore.add_component(model text, component text, half_life interval DEFAULT NULL,
	lo float8 DEFAULT NULL, hi float8 DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_add_component' LANGUAGE C;
COMMENT ON FUNCTION leadscore.add_component(text, text, interval, float8, float8) IS
'adds a component to the draft: half_life 1 second .. 1000 years, NULL = does not age; lo and hi bound what it contributes, NULL = no bound; at most 8 components a model';

CREATE FUNCTION leadscore.drop_component(model text, component text)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_drop_component' LANGUAGE C;
COMMENT ON FUNCTION leadscore.drop_component(text, text) IS
'drops a component and its rules from the draft';

CREATE FUNCTION leadscore.add_rule(model text, component text, rule text, condition text, points text,
	at_most int DEFAULT NULL, per interval DEFAULT NULL, source text DEFAULT NULL,
	valid_from timestamptz DEFAULT NULL, valid_until timestamptz DEFAULT NULL, enabled bool DEFAULT true)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_add_rule' LANGUAGE C;
COMMENT ON FUNCTION leadscore.add_rule(text, text, text, text, text, int, interval, text, timestamptz, timestamptz, bool) IS
'adds a rule to the draft: an SQL condition over the row of the lead or of the event, and points as a numeric SQL expression over the same row; a NULL condition gives no points; at_most N per interval: the N earliest events of each window count; at most 300 rules a model; neither may read the clock or the session';

CREATE FUNCTION leadscore.add_rule(model text, component text, rule text, condition text, points float8,
	at_most int DEFAULT NULL, per interval DEFAULT NULL, source text DEFAULT NULL,
	valid_from timestamptz DEFAULT NULL, valid_until timestamptz DEFAULT NULL, enabled bool DEFAULT true)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_add_rule_number' LANGUAGE C;
COMMENT ON FUNCTION leadscore.add_rule(text, text, text, text, float8, int, interval, text, timestamptz, timestamptz, bool) IS
'adds a rule with constant points to the draft';

CREATE FUNCTION leadscore.drop_rule(model text, rule text)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_drop_rule' LANGUAGE C;
COMMENT ON FUNCTION leadscore.drop_rule(text, text) IS
'drops a rule from the draft';

CREATE FUNCTION leadscore.enable_rule(model text, rule text, enabled bool DEFAULT true)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_enable_rule' LANGUAGE C;
COMMENT ON FUNCTION leadscore.enable_rule(text, text, bool) IS
'switches a rule of the draft on or off';

CREATE FUNCTION leadscore.add_band(model text, band text, at_least float8)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_add_band' LANGUAGE C;
COMMENT ON FUNCTION leadscore.add_band(text, text, float8) IS
'adds a band to the draft: leads whose score reaches at_least, and that of no higher band, are in it';

CREATE FUNCTION leadscore.drop_band(model text, band text)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_drop_band' LANGUAGE C;
COMMENT ON FUNCTION leadscore.drop_band(text, text) IS
'drops a band from the draft';

CREATE FUNCTION leadscore.set_bounds(model text, lo float8, hi float8)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_set_bounds' LANGUAGE C;
COMMENT ON FUNCTION leadscore.set_bounds(text, float8, float8) IS
'sets the bounds of the draft''s total score; NULL = no bound';

-- publishing

CREATE FUNCTION leadscore.publish(model text, note text DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'leadscore_publish' LANGUAGE C;
COMMENT ON FUNCTION leadscore.publish(text, text) IS
'freezes the draft as the next version, scores every lead with it and makes it live, all in one transaction; readers see the old version until it commits; returns the version number';

CREATE FUNCTION leadscore.rescore(model text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'leadscore_rescore' LANGUAGE C STRICT;
COMMENT ON FUNCTION leadscore.rescore(text) IS
'computes and stores the score of every lead again with the live version, which ends that they are out of date (leadscore.not_kept); returns the number of leads';

-- asking

CREATE FUNCTION leadscore.hottest(model text, n int DEFAULT 10, at timestamptz DEFAULT pg_catalog.now(),
	OUT lead text, OUT score float8, OUT band text, OUT parts text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_hottest' LANGUAGE C STABLE STRICT ROWS 10;
COMMENT ON FUNCTION leadscore.hottest(text, int, timestamptz) IS
'the n leads with the highest stored score as of an instant, highest first, with their band and the contribution of each component; an error while stored scores are out of date (leadscore.not_kept)';

CREATE FUNCTION leadscore.explain(model text, lead text, at timestamptz DEFAULT pg_catalog.now(),
	OUT component text, OUT rule text, OUT source text, OUT occurrences bigint, OUT points float8, OUT note text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_explain' LANGUAGE C STABLE STRICT ROWS 20;
COMMENT ON FUNCTION leadscore.explain(text, text, timestamptz) IS
'every point of a lead''s score as of an instant: a row for each rule that counted (its points aged to the instant), for each limit and each bound that took or gave points, for rules that could not be decided, and for columns that are not known as of then and taken as the oldest known; the last row is the total, the sum of all others';

CREATE FUNCTION leadscore.score_at(model text, lead text, at timestamptz DEFAULT pg_catalog.now())
RETURNS float8
AS 'MODULE_PATHNAME', 'leadscore_score_at' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION leadscore.score_at(text, text, timestamptz) IS
'the score of a lead as of an instant under the live version, computed from the lead''s row as it was (columns that are not known as of then, which explain names, as the oldest known) and the events up to then; NULL if there is no such lead';

CREATE FUNCTION leadscore.current_score(model text, lead text)
RETURNS leadscore.score
AS 'MODULE_PATHNAME', 'leadscore_current_score' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION leadscore.current_score(text, text) IS
'the stored score of a lead; NULL if there is none; an error while stored scores are out of date (leadscore.not_kept)';

CREATE FUNCTION leadscore.verify(model text,
	OUT lead text, OUT stored leadscore.score, OUT computed leadscore.score, OUT problem text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_verify' LANGUAGE C STABLE STRICT ROWS 10;
COMMENT ON FUNCTION leadscore.verify(text) IS
'stored scores that differ from the score computed from leads and events under the live version by more than 1e-9: no rows when all is well';

-- internal: puts the columns of a scoring query together

CREATE FUNCTION leadscore.model_score(shape leadscore.score,
	p1 leadscore.score DEFAULT NULL, p2 leadscore.score DEFAULT NULL, p3 leadscore.score DEFAULT NULL,
	p4 leadscore.score DEFAULT NULL, p5 leadscore.score DEFAULT NULL, p6 leadscore.score DEFAULT NULL,
	p7 leadscore.score DEFAULT NULL, p8 leadscore.score DEFAULT NULL)
RETURNS leadscore.score
AS 'MODULE_PATHNAME', 'leadscore_model_score' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.model_score(leadscore.score, leadscore.score, leadscore.score, leadscore.score, leadscore.score,
	leadscore.score, leadscore.score, leadscore.score, leadscore.score) IS
'internal: a score of the given shape whose components take their values from one-component scores; a NULL part is an empty component';
