-- old values of the columns of leads that rules use (law L5)

CREATE TABLE leadscore.kept_column (
	model		text NOT NULL,
	column_name	name NOT NULL,
	since		timestamptz,
	PRIMARY KEY (model, column_name)
);
COMMENT ON TABLE leadscore.kept_column IS 'columns of leads whose old values are kept, in leadscore.past_<model>: those that any version that was live has read; since when every change is kept, NULL while changes are not, because the lead key does not fit';
SELECT pg_catalog.pg_extension_config_dump('leadscore.kept_column', '');
GRANT SELECT ON leadscore.kept_column TO PUBLIC;

CREATE FUNCTION leadscore.keep_past()
RETURNS trigger
AS 'MODULE_PATHNAME', 'leadscore_keep_past' LANGUAGE C;
COMMENT ON FUNCTION leadscore.keep_past() IS
'trigger on a table of leads, made by publish: keeps the old values of the columns that rules use, so that scores as of an earlier instant do not know later values';
-- not revoked: PostgreSQL clones the trigger to a new partition as whoever makes that

-- for the queries that see leads as they were

CREATE FUNCTION leadscore.as_it_was(lead anyelement, old jsonb)
RETURNS anyelement
AS 'MODULE_PATHNAME', 'leadscore_as_it_was' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.as_it_was(anyelement, jsonb) IS
'internal: a row of leads with old values, texts by column, in the place of those it has';

CREATE FUNCTION leadscore.value_text(value anyelement)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_value_text' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.value_text(anyelement) IS
'internal: a value as the text that old values are kept as';

CREATE AGGREGATE leadscore.merged(jsonb) (
	SFUNC = pg_catalog.jsonb_concat, STYPE = jsonb, COMBINEFUNC = pg_catalog.jsonb_concat, INITCOND = '{}', PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.merged(jsonb) IS
'internal: JSON objects in one, of a key that several have the last value';

CREATE FUNCTION leadscore.changes(model text, lead text, from_at timestamptz, to_at timestamptz DEFAULT pg_catalog.now(),
	OUT component text, OUT cause text, OUT rule text, OUT occurrences bigint, OUT points float8, OUT note text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_changes' LANGUAGE C STABLE STRICT ROWS 20;
COMMENT ON FUNCTION leadscore.changes(text, text, timestamptz, timestamptz) IS
'why a lead''s score moved between two instants: events that counted since, ageing, lead data that changed, bounds, and rules that were published in between; where columns are not known as of an instant a row without points says so; the last row is the total, the sum of all others';
