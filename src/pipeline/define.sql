
-- ---------------------------------------------------------------------------
-- Making pipelines. Everything edits the draft; publish_pipeline() freezes it.
-- ---------------------------------------------------------------------------

CREATE FUNCTION leadscore.create_pipeline(pipeline text, note text DEFAULT NULL, override_role name DEFAULT NULL, import_role name DEFAULT NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_create_pipeline' LANGUAGE c;
COMMENT ON FUNCTION leadscore.create_pipeline(text, text, name, name) IS
	'makes an empty pipeline, owned by the caller; members of override_role may override its rules, members of import_role may backdate';

CREATE FUNCTION leadscore.copy_pipeline(source text, copy text)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_copy_pipeline' LANGUAGE c;
COMMENT ON FUNCTION leadscore.copy_pipeline(text, text) IS 'makes a pipeline whose draft is the live version of another, for example of lifecycle';

CREATE FUNCTION leadscore.drop_pipeline(pipeline text)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_drop_pipeline' LANGUAGE c;
COMMENT ON FUNCTION leadscore.drop_pipeline(text) IS 'drops a pipeline that no table is under; history keeps its name';

CREATE FUNCTION leadscore.set_pipeline_roles(pipeline text, override_role name, import_role name)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_set_pipeline_roles' LANGUAGE c;
COMMENT ON FUNCTION leadscore.set_pipeline_roles(text, name, name) IS 'who may override the rules of a pipeline and who may backdate moves; NULL: its owner only';

CREATE FUNCTION leadscore.add_stage(pipeline text, stage text, kind text DEFAULT 'open', entry bool DEFAULT NULL, service_level interval DEFAULT NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_add_stage' LANGUAGE c;
COMMENT ON FUNCTION leadscore.add_stage(text, text, text, bool, interval) IS
	'adds a stage after those there are; kind is open, won or lost; entry: leads may start there (by default, in the first); service_level: how long a lead should stay at most';

CREATE FUNCTION leadscore.drop_stage(pipeline text, stage text)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_drop_stage' LANGUAGE c;
COMMENT ON FUNCTION leadscore.drop_stage(text, text) IS 'drops a stage of the draft, with its transitions';

CREATE FUNCTION leadscore.add_field(pipeline text, field text, columns name[] DEFAULT NULL, optional bool DEFAULT false)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_add_field' LANGUAGE c;
COMMENT ON FUNCTION leadscore.add_field(text, text, name[], bool) IS
	'names something a pipeline asks of a lead, and the columns enforce() looks for it in, best first; optional: a table may do without';

CREATE FUNCTION leadscore.add_transition(pipeline text, from_stage text, to_stage text, guard text DEFAULT NULL, label text DEFAULT NULL,
										 min_score float8 DEFAULT NULL, model text DEFAULT NULL, role name DEFAULT NULL,
										 reason_required bool DEFAULT false, fields text[] DEFAULT NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_add_transition' LANGUAGE c;
COMMENT ON FUNCTION leadscore.add_transition(text, text, text, text, text, float8, text, name, bool, text[]) IS
	'allows a move; guard is an SQL condition over the new row (old.x: before; score: the score now), label what a refusal calls it, model whose scores count (NULL: that of enforce), fields what must be filled';

CREATE FUNCTION leadscore.add_guard(pipeline text, from_stage text, to_stage text, guard text, label text DEFAULT NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_add_guard' LANGUAGE c;
COMMENT ON FUNCTION leadscore.add_guard(text, text, text, text, text) IS 'adds one more guard to a transition; all of them must hold, and a refusal names each that does not';

CREATE FUNCTION leadscore.drop_guard(pipeline text, from_stage text, to_stage text, label text)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_drop_guard' LANGUAGE c;
COMMENT ON FUNCTION leadscore.drop_guard(text, text, text, text) IS 'drops a guard of a transition of the draft; its label is what a refusal says, and the condition itself where none was given';

CREATE FUNCTION leadscore.drop_transition(pipeline text, from_stage text, to_stage text)
	RETURNS void AS 'MODULE_PATHNAME', 'leadscore_drop_transition' LANGUAGE c;
COMMENT ON FUNCTION leadscore.drop_transition(text, text, text) IS 'drops a transition of the draft, with its guards';

CREATE FUNCTION leadscore.check_pipeline(pipeline text)
	RETURNS SETOF text AS 'MODULE_PATHNAME', 'leadscore_check_pipeline' LANGUAGE c STRICT ROWS 5;
COMMENT ON FUNCTION leadscore.check_pipeline(text) IS 'everything that keeps the draft of a pipeline from being published; no rows: nothing';

CREATE FUNCTION leadscore.publish_pipeline(pipeline text, note text DEFAULT NULL)
	RETURNS int4 AS 'MODULE_PATHNAME', 'leadscore_publish_pipeline' LANGUAGE c;
COMMENT ON FUNCTION leadscore.publish_pipeline(text, text) IS 'freezes the draft as the next version, which is in force at once; returns its number';

CREATE FUNCTION leadscore.revert_pipeline(pipeline text, version int4)
	RETURNS int4 AS 'MODULE_PATHNAME', 'leadscore_revert_pipeline' LANGUAGE c;
COMMENT ON FUNCTION leadscore.revert_pipeline(text, int4) IS 'makes an older version the draft and publishes it as the next version; returns its number';

CREATE FUNCTION leadscore.pipeline_version_of(pipeline text, version int4) RETURNS int4
	AS 'MODULE_PATHNAME', 'leadscore_pipeline_version_of' LANGUAGE c STABLE;
COMMENT ON FUNCTION leadscore.pipeline_version_of(text, int4) IS 'the version that is meant: the one given, else the live one, else the draft (0)';

CREATE FUNCTION leadscore.can_move(pipeline text, from_stage text, to_stage text) RETURNS bool
	LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM leadscore.pipeline_transition t
				   WHERE t.pipeline = $1 AND t.version = v.version AND t.from_stage = $2 AND t.to_stage = $3)
		   OR $2 = $3 AND EXISTS (SELECT FROM leadscore.pipeline_stage s WHERE s.pipeline = $1 AND s.version = v.version AND s.stage = $2)
	FROM leadscore.pipeline_version_of($1, NULL) v(version);
END;
COMMENT ON FUNCTION leadscore.can_move(text, text, text) IS 'whether a pipeline has a transition at all; what a certain lead lacks for it: would_refuse()';

CREATE FUNCTION leadscore.export_pipeline(pipeline text, version int4 DEFAULT NULL) RETURNS jsonb
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT pg_catalog.jsonb_build_object(
		'pipeline', p.pipeline,
		'stages', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'stage', s.stage, 'kind', s.kind, 'entry', s.entry, 'service_level', s.service_level) ORDER BY s.ordinal), '[]'::jsonb)
				   FROM leadscore.pipeline_stage s WHERE s.pipeline = p.pipeline AND s.version = v.version),
		'fields', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'field', f.field, 'columns', f.columns, 'optional', f.optional) ORDER BY f.field), '[]'::jsonb)
				   FROM leadscore.pipeline_field f WHERE f.pipeline = p.pipeline AND f.version = v.version),
		'transitions', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'from', t.from_stage, 'to', t.to_stage, 'min_score', t.min_score, 'model', t.model, 'role', t.role,
						'reason_required', t.reason_required, 'fields', t.fields,
						'guards', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('label', g.label, 'condition', g.condition)
																		ORDER BY g.ordinal), '[]'::jsonb)
								   FROM leadscore.pipeline_guard g
								   WHERE g.pipeline = t.pipeline AND g.version = t.version
									 AND g.from_stage = t.from_stage AND g.to_stage = t.to_stage))
						ORDER BY a.ordinal, b.ordinal), '[]'::jsonb)
				   FROM leadscore.pipeline_transition t
				   JOIN leadscore.pipeline_stage a ON a.pipeline = t.pipeline AND a.version = t.version AND a.stage = t.from_stage
				   JOIN leadscore.pipeline_stage b ON b.pipeline = t.pipeline AND b.version = t.version AND b.stage = t.to_stage
				   WHERE t.pipeline = p.pipeline AND t.version = v.version))
	FROM leadscore.pipeline_version_of($1, $2) v(version) JOIN leadscore.pipeline p ON p.pipeline = $1;
END;
COMMENT ON FUNCTION leadscore.export_pipeline(text, int4) IS 'a version of a pipeline (NULL: the live one; 0: the draft) as a document for version control or another database';

CREATE FUNCTION leadscore.pipeline_document_faults(document jsonb) RETURNS SETOF text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH known(kind, key, type, needed) AS (VALUES
		('document', 'pipeline', 'string', false), ('document', 'stages', 'array', true), ('document', 'fields', 'array', false), ('document', 'transitions', 'array', false),
		('stage', 'stage', 'string', true), ('stage', 'kind', 'string', false), ('stage', 'entry', 'boolean', false), ('stage', 'service_level', 'string', false),
		('field', 'field', 'string', true), ('field', 'columns', 'array', false), ('field', 'optional', 'boolean', false),
		('transition', 'from', 'string', true), ('transition', 'to', 'string', true), ('transition', 'min_score', 'number', false), ('transition', 'model', 'string', false),
		('transition', 'role', 'string', false), ('transition', 'reason_required', 'boolean', false), ('transition', 'fields', 'array', false), ('transition', 'guards', 'array', false),
		('guard', 'label', 'string', true), ('guard', 'condition', 'string', true)),
	list(kind, place, value) AS (
		SELECT k.kind, e.n::text, e.value FROM (VALUES ('stage', 'stages'), ('field', 'fields'), ('transition', 'transitions')) k(kind, key),
			LATERAL pg_catalog.jsonb_array_elements(CASE WHEN pg_catalog.jsonb_typeof($1 OPERATOR(pg_catalog.->) k.key) = 'array' THEN $1 OPERATOR(pg_catalog.->) k.key ELSE '[]' END)
				WITH ORDINALITY e(value, n)),
	part(kind, place, value) AS (
		SELECT 'document', NULL::text, $1
		UNION ALL SELECT l.kind, l.place, l.value FROM list l
		UNION ALL SELECT 'guard', g.n || ' of transition ' || l.place, g.value FROM list l,
			LATERAL pg_catalog.jsonb_array_elements(CASE WHEN l.kind = 'transition' AND pg_catalog.jsonb_typeof(l.value OPERATOR(pg_catalog.->) 'guards') = 'array'
														THEN l.value OPERATOR(pg_catalog.->) 'guards' ELSE '[]' END) WITH ORDINALITY g(value, n)),
	object(kind, name, value) AS (
		SELECT p.kind, pg_catalog.concat_ws(' ', CASE WHEN p.kind = 'document' THEN 'the document' ELSE p.kind END, p.place),
			   p.value
		FROM part p WHERE pg_catalog.jsonb_typeof(p.value) = 'object')
	SELECT pg_catalog.format('%s %s is not an object', p.kind, p.place) FROM part p WHERE pg_catalog.jsonb_typeof(p.value) <> 'object'
	UNION ALL
	SELECT pg_catalog.format('%s has an unknown key "%s"', o.name, e.key) FROM object o, LATERAL pg_catalog.jsonb_object_keys(o.value) e(key)
	WHERE NOT EXISTS (SELECT FROM known k WHERE k.kind = o.kind AND k.key = e.key)
	UNION ALL
	SELECT pg_catalog.format('"%s" of %s is not of type %s', k.key, o.name, k.type) FROM object o JOIN known k USING (kind)
	WHERE pg_catalog.jsonb_typeof(o.value OPERATOR(pg_catalog.->) k.key) NOT IN (k.type, 'null')
	UNION ALL
	SELECT pg_catalog.format('%s has no "%s"', o.name, k.key) FROM object o JOIN known k USING (kind)
	WHERE k.needed AND coalesce(pg_catalog.jsonb_typeof(o.value OPERATOR(pg_catalog.->) k.key), 'null') = 'null'
	UNION ALL
	SELECT pg_catalog.format('"kind" of %s is none of open, won, lost', o.name) FROM object o
	WHERE o.kind = 'stage' AND o.value OPERATOR(pg_catalog.->>) 'kind' NOT IN ('open', 'won', 'lost');
END;
COMMENT ON FUNCTION leadscore.pipeline_document_faults(jsonb) IS 'what keeps a document from being one that import_pipeline() can read; no rows: nothing';

CREATE FUNCTION leadscore.import_pipeline(document jsonb, pipeline text DEFAULT NULL)
	RETURNS text AS 'MODULE_PATHNAME', 'leadscore_import_pipeline' LANGUAGE c;
COMMENT ON FUNCTION leadscore.import_pipeline(jsonb, text) IS 'makes a document of export_pipeline() the draft of a pipeline, which is created if there is none; returns its name';

CREATE FUNCTION leadscore.diagram(pipeline text, format text DEFAULT 'mermaid', version int4 DEFAULT NULL) RETURNS text
	LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH v AS (SELECT $1 AS pipeline, leadscore.pipeline_version_of($1, $3) AS version),
	s AS (SELECT s.*, 's' || s.ordinal AS id,
				 pg_catalog.replace(pg_catalog.replace(s.stage, '\', '\\'), '"', '\"') AS dot,
				 pg_catalog.replace(pg_catalog.replace(s.stage, '#', '#35;'), '"', '#quot;') AS mermaid
		  FROM leadscore.pipeline_stage s JOIN v USING (pipeline, version)),
	t AS (SELECT a.id AS from_id, b.id AS to_id, a.ordinal AS n, b.ordinal AS m,
				 pg_catalog.concat_ws(', ', nullif(pg_catalog.array_to_string(t.fields, ', '), ''),
					(SELECT pg_catalog.string_agg(g.label, ', ' ORDER BY g.ordinal) FROM leadscore.pipeline_guard g
					 WHERE g.pipeline = t.pipeline AND g.version = t.version AND g.from_stage = t.from_stage AND g.to_stage = t.to_stage),
					'score >= ' || t.min_score, 'role ' || t.role, CASE WHEN t.reason_required THEN 'with a reason' END) AS label
		  FROM leadscore.pipeline_transition t JOIN v USING (pipeline, version)
		  JOIN s a ON a.stage = t.from_stage JOIN s b ON b.stage = t.to_stage)
	SELECT CASE $2
		WHEN 'mermaid' THEN
			E'stateDiagram-v2\n' || pg_catalog.concat_ws(E'\n',
				(SELECT pg_catalog.string_agg('    state "' || s.mermaid || '" as ' || s.id, E'\n' ORDER BY s.ordinal) FROM s),
				(SELECT pg_catalog.string_agg('    [*] --> ' || s.id, E'\n' ORDER BY s.ordinal) FROM s WHERE s.entry),
				(SELECT pg_catalog.string_agg('    ' || t.from_id || ' --> ' || t.to_id ||
						CASE WHEN t.label <> '' THEN ' : ' || pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(t.label, '#', '#35;'), ':', '#58;'), ';', '#59;') ELSE '' END,
						E'\n' ORDER BY t.n, t.m) FROM t),
				(SELECT pg_catalog.string_agg('    ' || s.id || ' --> [*]', E'\n' ORDER BY s.ordinal) FROM s WHERE s.kind = 'won')) || E'\n'
		WHEN 'dot' THEN
			'digraph "' || pg_catalog.replace(pg_catalog.replace($1, '\', '\\'), '"', '\"') || E'" {\n    rankdir=LR;\n' || pg_catalog.concat_ws(E'\n',
				(SELECT pg_catalog.string_agg('    ' || s.id || ' [label="' || s.dot || '", shape=' ||
						CASE s.kind WHEN 'open' THEN 'box' WHEN 'won' THEN 'doublecircle' ELSE 'octagon' END || '];', E'\n' ORDER BY s.ordinal) FROM s),
				(SELECT pg_catalog.string_agg('    ' || t.from_id || ' -> ' || t.to_id ||
						CASE WHEN t.label <> '' THEN ' [label="' || pg_catalog.replace(pg_catalog.replace(t.label, '\', '\\'), '"', '\"') || '"]' ELSE '' END || ';',
						E'\n' ORDER BY t.n, t.m) FROM t)) || E'\n}\n'
		END
	FROM v WHERE v.version IS NOT NULL;
END;
COMMENT ON FUNCTION leadscore.diagram(text, text, int4) IS 'a picture of a pipeline, for Mermaid (''mermaid'') or Graphviz (''dot''); NULL for an unknown format';
