-- models as documents: between databases, and into version control

CREATE FUNCTION leadscore.portable_text(written text, understood text, relation regclass, is_points bool)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_portable_text' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION leadscore.portable_text(text, text, regclass, bool) IS
'internal: a rule''s expression as written if that means the same without a search_path, else as understood';

CREATE FUNCTION leadscore.export_model(model text, version int DEFAULT 0)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET TimeZone = 'UTC' SET extra_float_digits = '1'
BEGIN ATOMIC
	SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
		'leadscore_model', 1,
		'model', m.model,
		'leads', (SELECT c.oid::regclass::text FROM pg_catalog.pg_class c WHERE c.oid = m.leads), 'lead_key', m.lead_key::text,
		'events', (SELECT c.oid::regclass::text FROM pg_catalog.pg_class c WHERE c.oid = m.events), 'event_lead', m.event_lead::text, 'event_at', m.event_at::text,
		'lo', v.lo, 'hi', v.hi,
		'components', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
				'component', c.component, 'half_life', c.half_life::text, 'lo', c.lo, 'hi', c.hi) ORDER BY c.ordinal)
			FROM leadscore.component c WHERE c.model = v.model AND c.version = v.version),
		'rules', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
				'rule', r.rule, 'component', r.component, 'source', r.source,
				'condition', leadscore.portable_text(r.condition, r.condition_sql, CASE r.source WHEN 'event' THEN m.events ELSE m.leads END, false),
				'points', CASE WHEN r.points ~ '^-?[0-9]+(\.[0-9]+)?$' THEN pg_catalog.to_jsonb(r.points::numeric)
							   ELSE pg_catalog.to_jsonb(leadscore.portable_text(r.points, r.points_sql, CASE r.source WHEN 'event' THEN m.events ELSE m.leads END, true)) END,
				'at_most', r.at_most, 'per', r.per::text, 'valid_from', r.valid_from::text, 'valid_until', r.valid_until::text,
				'enabled', CASE WHEN r.enabled THEN NULL ELSE false END) ORDER BY r.ordinal)
			FROM leadscore.rule r WHERE r.model = v.model AND r.version = v.version),
		'bands', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
				'band', b.band, 'least', CASE WHEN b.least = '-infinity' THEN '"-infinity"' ELSE pg_catalog.to_jsonb(b.least) END) ORDER BY b.least DESC)
			FROM leadscore.band b WHERE b.model = v.model AND b.version = v.version)))
	FROM leadscore.model m JOIN leadscore.model_version v ON v.model = m.model
	WHERE m.model = export_model.model AND v.version = export_model.version;
END;
COMMENT ON FUNCTION leadscore.export_model(text, int) IS
'a version of a model (0: the draft) as a document for import_model and version control, without the names of tables that were dropped; NULL if there is none';

CREATE FUNCTION leadscore.import_model(document jsonb, model text DEFAULT NULL, leads regclass DEFAULT NULL, events regclass DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_import_model' LANGUAGE C;
COMMENT ON FUNCTION leadscore.import_model(jsonb, text, regclass, regclass) IS
'makes a model from a document of export_model, or replaces the draft of the model that is there; model, leads and events take the place of what the document says; nothing is published';
